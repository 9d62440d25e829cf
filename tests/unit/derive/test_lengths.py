import pytest

from promptmill.derive.lengths import Observed, length_target, quantile, survival
from promptmill.records import Prompt


def target(lengths, censored=None):
    return length_target("p", "text", lengths, censored or [False] * len(lengths))


def test_without_censoring_the_median_of_an_even_number_is_the_midpoint():
    found = target([10, 20, 30, 40])
    assert (found.median, found.q25, found.q75, found.mean) == (25.0, 15.0, 35.0, 25.0)
    assert (found.q10, found.q90) == (10.0, 40.0)


def test_the_steps_are_those_of_the_textbook():
    # Six answers, two cut (20+, 40+): S = 5/6, then 5/6 * 3/4, then 5/6 * 3/4 * 2/3, then * 0.
    steps = survival([10, 20, 30, 35, 40, 50], [False, True, False, False, True, False])
    assert [length for length, _ in steps] == [10, 30, 35, 50]
    assert [above for _, above in steps] == pytest.approx([5 / 6, 5 / 8, 5 / 12, 0])
    assert quantile(steps, 0.5) == 35.0


def test_an_answer_cut_where_another_ended_counts_as_longer():
    assert survival([10, 10], [False, True]) == [(10, 0.5)]


def test_quantiles_that_the_cut_answers_hide_are_null():
    found = target([10, 50, 50, 50], [False, True, True, True])
    assert (found.q10, found.median, found.q90, found.mean) == (10.0, None, None, None)
    assert (found.n_samples, found.n_censored) == (4, 3)


def test_when_every_answer_was_cut_nothing_is_identified():
    found = target([50, 50], [True, True])
    assert (found.q10, found.median, found.mean) == (None, None, None)


def test_the_mean_is_identified_when_the_longest_answer_ended():
    # 10 with weight 1/2, then the remaining half at 30: the answer cut at 20 gives its weight to what is longer.
    assert target([10, 20, 30, 5], [False, True, False, False]).mean == pytest.approx(0.25 * 5 + 0.25 * 10 + 0.5 * 30)


def test_one_sample_is_its_own_summary():
    found = target([7])
    assert {found.median, found.q10, found.q90, found.mean} == {7.0}


def test_samples_of_a_prompt_are_grouped_wherever_they_stand(tmp_path):
    a, b = Prompt(id="a", source="s", text="ä\n1"), Prompt(id="b", source="s", text="two")
    with Observed(tmp_path) as observed:
        observed.add(b, 0, 5, censored=False)
        observed.add(a, 0, 10, censored=False)
        observed.add(b, 1, 7, censored=True)
        found = list(observed.targets())
    assert [(t.prompt_id, t.input_prompt, t.n_samples, t.n_censored) for t in found] == [
        ("b", "two", 2, 1),
        ("a", "ä\n1", 1, 0),
    ]
    assert list(tmp_path.iterdir()) == []


def test_no_completion_gives_no_target(tmp_path):
    with Observed(tmp_path) as observed:
        assert list(observed.targets()) == []


def test_two_prompts_under_one_id_get_targets_of_their_own_and_one_prompt_that_stands_twice_counts_once(tmp_path):
    one, other = Prompt(id="7", source="a:1", text="one"), Prompt(id="7", source="b:1", text="other")
    with Observed(tmp_path) as observed:
        observed.add(one, 0, 5, censored=False)
        observed.add(other, 0, 50, censored=False)
        observed.add(one, 0, 5, censored=False)
        found = list(observed.targets())
    assert [(t.prompt_id, t.input_prompt, t.n_samples, t.median) for t in found] == [
        ("7", "one", 1, 5.0),
        ("7", "other", 1, 50.0),
    ]
