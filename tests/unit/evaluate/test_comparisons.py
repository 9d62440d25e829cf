import math

import numpy as np
import pytest

from promptmill.evaluate.comparisons import agree, compare, holm, sign_flip
from promptmill.evaluate.estimates import Graded


def rows(model, **values):
    return [
        Graded(problem=problem, model=model, sample=j, value=value)
        for problem, given in values.items()
        for j, value in enumerate(given)
    ]


def test_two_models_are_compared_on_the_problems_of_both():
    found = compare(
        [
            *rows("a", p=[1.0, 1.0], q=[1.0, 0.0], r=[0.0, 0.0], s=[1.0], t=[None]),
            *rows("b", p=[0.0, 0.0], q=[0.0, 1.0], r=[1.0, 0.0], u=[1.0], t=[1.0]),
        ]
    )
    (one,) = found
    assert (one.first, one.second) == ("a", "b")
    # p: +1, q: 0, r: -0.5; s, t and u are graded for one of them alone
    assert one.difference.value == pytest.approx(0.5 / 3)
    assert (one.difference.problems, one.difference.samples) == (3, 12)
    assert (one.wins, one.ties, one.losses, one.left_out) == (1, 1, 1, 3)
    # +-1 +-0.5: every pattern is at least 0.5 from 0
    assert (one.p_value, one.p_holm) == (1.0, 1.0)


def test_models_without_a_common_problem_are_not_compared():
    assert compare(rows("a", p=[1.0]) + rows("b", q=[1.0])) == []
    assert compare(rows("a", p=[1.0]) + rows("b", p=[None])) == []
    assert compare(rows("a", p=[1.0])) == []


def test_three_models_give_three_pairs_corrected_together():
    n = 30
    good = rows("good", **{f"p{i}": [1.0] for i in range(n)})
    fair = rows("fair", **{f"p{i}": [float(i % 2)] for i in range(n)})
    bad = rows("bad", **{f"p{i}": [0.0] for i in range(n)})
    found = {(one.first, one.second): one for one in compare(good + fair + bad)}
    assert set(found) == {("bad", "fair"), ("bad", "good"), ("fair", "good")}
    # 15 problems differ, all in one direction: 2 of 2**15 patterns
    close = found["bad", "fair"]
    assert close.p_value == 2 / 2**15
    assert close.p_holm == 2 * close.p_value  # the second smallest of three
    assert found["bad", "good"].p_holm == pytest.approx(3 * 2 / 2**30)
    assert close.difference.high < 0
    assert (close.wins, close.ties, close.losses) == (0, 15, 15)


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(1)
    names = [f"p{i}" for i in range(60)]
    given = [
        row
        for model, share in (("a", 0.6), ("b", 0.5))
        for row in rows(model, **{name: [float(x) for x in rng.random(3) < share] for name in names})
    ]
    forwards = compare(given, seed=7)
    assert forwards == compare(given[::-1], seed=7)
    assert 0 < forwards[0].p_value < 1


def test_the_sign_test_of_equal_differences_is_the_exact_test_of_mcnemar():
    # 8 wins, 2 losses: 2 * (1 + 10 + 45) / 1024
    assert sign_flip([1.0] * 8 + [-1.0] * 2 + [0.0] * 90) == pytest.approx(112 / 1024)
    assert sign_flip([]) == sign_flip([0.0, 0.0]) == 1.0
    assert sign_flip([0.3]) == 1.0
    # +1 +1 +0.5: of 8 patterns two are at least 2.5 from 0
    assert sign_flip([1.0, 1.0, 0.5]) == 2 / 8


def test_the_test_of_mcnemar_is_exact_for_any_number_of_problems():
    expected = 2 * sum(math.comb(60, i) for i in range(21)) / 2**60
    assert sign_flip([1.0] * 40 + [-1.0] * 20) == pytest.approx(expected, rel=1e-9)
    assert sign_flip([1.0] * 100) == pytest.approx(2 / 2**100)
    assert sign_flip([0.2, -0.2] * 5000) == 1.0


def test_many_differences_of_several_sizes_are_drawn_close_to_the_exact_value_and_are_never_0():
    # 40 wins, 20 losses, and two small ones that take a quarter of the patterns of exactly 40 below the observed sum
    exact = 2 * (sum(math.comb(60, i) for i in range(20)) + 0.75 * math.comb(60, 20)) / 2**60
    assert sign_flip([1.0] * 40 + [-1.0] * 20 + [0.001, -0.001], seed=1) == pytest.approx(exact, abs=0.002)
    assert sign_flip([1.0] * 500 + [0.5]) == 1 / 20_001


def test_a_seed_gives_one_value_and_a_turned_sign_the_same():
    values = list(np.random.default_rng(2).normal(0.1, 1.0, size=40))
    assert sign_flip(values, seed=1) == sign_flip(values, seed=1)
    assert sign_flip(values, seed=1) == sign_flip([-v for v in values], seed=1)


def test_p_values_of_models_that_are_alike_are_below_5_percent_5_times_in_100():
    rng = np.random.default_rng(4)
    draws = rng.binomial(4, 0.5, (400, 30)) / 4 - rng.binomial(4, 0.5, (400, 30)) / 4
    assert 0.02 < np.mean([sign_flip(values, seed=1) < 0.05 for values in draws]) < 0.08


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.01, 0.9], [1.0, 0.03, 1.0]),
    ],
)
def test_the_correction_of_holm_is_the_one_worked_out_by_hand(given, expected):
    assert holm(given) == pytest.approx(expected)


def test_agreement_and_kappa_are_those_of_the_textbook_table():
    # 20 both right, 5 and 10 differ, 15 both wrong: 0.7 agree, 0.5 by chance, kappa 0.4
    table = [(1.0, 1.0)] * 20 + [(1.0, 0.0)] * 5 + [(0.0, 1.0)] * 10 + [(0.0, 0.0)] * 15
    found = agree((f"p{i}", *pair) for i, pair in enumerate([*table, (None, 1.0), (0.0, None)]))
    assert found.agreement.value == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert (found.both_right, found.only_first, found.only_second, found.both_wrong) == (20, 5, 10, 15)
    assert found.unsettled == 2
    assert found.agreement.low < 0.7 < found.agreement.high


def test_kappa_is_none_where_chance_alone_agrees_and_1_where_all_agree():
    assert agree([("p", 1.0, 1.0), ("q", 1.0, 1.0)]).kappa is None
    assert agree([("p", 1.0, 1.0), ("q", 0.0, 0.0)]).kappa == 1.0
    assert agree([("p", 1.0, 0.0), ("q", 0.0, 1.0)]).kappa == -1.0
    nothing = agree([("p", None, 1.0)])
    assert (nothing.agreement, nothing.kappa, nothing.unsettled) == (None, None, 1)
