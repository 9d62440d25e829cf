import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.evaluate import intervals
from promptmill.evaluate.comparisons import compare, holm
from promptmill.evaluate.estimates import Graded, pass_at, summarise

verdicts = st.sampled_from([0.0, 1.0, 1.0, None])
answers = st.sampled_from([None, "1", "2", "3"])
samples = st.tuples(verdicts, answers, st.booleans())
models = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.dictionaries(st.sampled_from("pqrstuv"), st.lists(samples, max_size=5))
)


def rows(of_models):
    return [
        Graded(problem=problem, model=model, sample=j, value=value, answer=answer, truncated=cut)
        for model, problems in of_models.items()
        for problem, given_samples in problems.items()
        for j, (value, answer, cut) in enumerate(given_samples)
    ]


@settings(max_examples=150)
@given(models, st.randoms(use_true_random=False))
def test_every_figure_lies_in_its_interval_and_the_order_of_rows_is_nothing(of_models, random):
    given_rows = rows(of_models)
    found = summarise(given_rows)
    shuffled = list(given_rows)
    random.shuffle(shuffled)
    assert summarise(shuffled) == found
    for one in found:
        figures = [one.overall.accuracy, one.overall.maj_at_k, one.overall.truncated, *one.overall.pass_at.values()]
        for figure in filter(None, figures):
            assert 0 <= figure.low <= figure.value <= figure.high <= 1
            assert figure.high - figure.low > 0.01
        assert one.overall.samples == sum(row.model == one.model for row in given_rows)


@settings(max_examples=150)
@given(models)
def test_a_comparison_lies_in_its_interval_and_counts_every_problem_once(of_models):
    for one in compare(rows(of_models)):
        assert -1 <= one.difference.low <= one.difference.value <= one.difference.high <= 1
        assert 0 < one.p_value <= one.p_holm <= 1
        both = set(of_models[one.first]) | set(of_models[one.second])
        assert one.wins + one.ties + one.losses == one.difference.problems <= len(both)


@given(st.integers(1, 60), st.data())
def test_pass_at_k_grows_with_k_and_with_right_samples_and_is_that_of_the_binomials(n, data):
    right, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    value = pass_at(n, right, k)
    assert value == pytest.approx(1 - math.comb(n - right, k) / math.comb(n, k))
    if k < n:
        assert pass_at(n, right, k + 1) >= value - 1e-12
    if right < n:
        assert pass_at(n, right + 1, k) >= value


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 20))
def test_the_interval_of_any_shares_holds_their_mean(values, k):
    for binary in (True, False):
        found = intervals.mean(np.array(values), samples=k * len(values), binary=binary)
        assert 0 <= found.low <= found.value <= found.high <= 1
        turned = intervals.mean(1 - np.array(values), samples=k * len(values), binary=binary)
        assert turned.low == pytest.approx(1 - found.high, abs=1e-6)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_the_interval_of_any_differences_holds_their_mean(values):
    found = intervals.mean_difference(np.array(values), samples=len(values))
    assert -1 <= found.low <= found.value <= found.high <= 1


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_makes_a_claim_surer_and_keeps_their_order(values):
    corrected = holm(values)
    assert all(p <= c <= 1 for p, c in zip(values, corrected, strict=True))
    by_p = [corrected[place] for place in sorted(range(len(values)), key=values.__getitem__)]
    assert by_p == sorted(by_p)
