import numpy as np
import pytest

from promptmill.evaluate import intervals


def of(*values):
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("df", "quantile"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (5, 2.57058), (10, 2.22814), (30, 2.04227), (1000, 1.96234)],
)
def test_the_quantiles_of_student_are_those_of_the_tables(df, quantile):
    assert intervals.student(df) == pytest.approx(quantile, rel=0.002)


def test_one_sample_a_problem_gives_the_interval_of_wilson():
    # 8 of 10: 0.4902 to 0.9433 in Newcombe (1998), table I
    found = intervals.mean(of(*[1] * 8, 0, 0), samples=10, binary=True)
    assert (found.value, found.problems, found.samples) == (0.8, 10, 10)
    assert found.low == pytest.approx(0.4902, abs=5e-5)
    assert found.high == pytest.approx(0.9433, abs=5e-5)


def test_the_standard_error_is_that_of_the_means_of_the_problems():
    # means 1, 0.5, 0: their standard deviation is 0.5
    found = intervals.mean(of(1, 0.5, 0), samples=6, binary=True)
    assert found.value == 0.5
    assert found.standard_error == pytest.approx(0.5 / 3**0.5)


def test_all_right_and_all_wrong_count_each_problem_once():
    # rule of Wilson for 10 of 10: 10 / (10 + 1.96 squared)
    right = intervals.mean(np.ones(10), samples=50, binary=True)
    wrong = intervals.mean(np.zeros(10), samples=50, binary=True)
    assert (right.high, wrong.low) == (1.0, 0.0)
    assert right.low == pytest.approx(10 / 13.8415, abs=1e-4)
    assert wrong.high == pytest.approx(3.8415 / 13.8415, abs=1e-4)


def test_one_problem_says_little_however_many_samples_it_has():
    found = intervals.mean(of(0.5), samples=100, binary=True)
    assert found.standard_error is None
    assert found.low < 0.06
    assert found.high > 0.94
    assert intervals.mean(of(1.0), samples=100, binary=True).low < 0.21


def test_problems_that_are_all_alike_are_as_good_as_independent_samples():
    found = intervals.mean(np.full(10, 0.5), samples=40, binary=True)
    assert (found.low, found.high) == pytest.approx(intervals.wilson(0.5, 40))


def test_without_a_problem_there_is_no_estimate():
    assert intervals.mean(of(), samples=0, binary=True) is None
    assert intervals.mean_difference(of(), samples=0) is None


def beta_binomial(n, k, a, b, *, repeats, seed):
    rng = np.random.default_rng(seed)
    return rng.binomial(k, rng.beta(a, b, (repeats, n))) / k


@pytest.mark.parametrize(
    ("n", "k", "a", "b"),
    [
        (10, 4, 4, 1),
        (20, 1, 4, 1),
        (20, 4, 0.5, 0.5),
        (20, 16, 5, 5),
        (50, 4, 9, 1),
        (200, 5, 0.5, 0.5),
        (200, 1, 9, 1),
    ],
)
def test_the_interval_covers_the_truth_about_95_times_in_100(n, k, a, b):
    of_repeats = beta_binomial(n, k, a, b, repeats=1500, seed=3)
    found = [intervals.mean(values, samples=n * k, binary=True) for values in of_repeats]
    covered = np.mean([one.low <= a / (a + b) <= one.high for one in found])
    assert 0.935 <= covered <= 0.985


def test_an_interval_that_takes_samples_for_independent_covers_far_less():
    # what the clusters are for: the same data, each sample counted as if it were alone
    of_repeats = beta_binomial(50, 16, 0.5, 0.5, repeats=1000, seed=3)
    naive = [intervals.wilson(values.mean(), 50 * 16) for values in of_repeats]
    ours = [intervals.mean(values, samples=50 * 16, binary=True) for values in of_repeats]
    assert np.mean([low <= 0.5 <= high for low, high in naive]) < 0.6
    assert np.mean([one.low <= 0.5 <= one.high for one in ours]) > 0.935


@pytest.mark.parametrize(("n", "k"), [(10, 4), (20, 1), (20, 16), (50, 4), (200, 4)])
def test_the_paired_interval_covers_the_true_difference_about_95_times_in_100(n, k):
    # the second model is worse by 0.2 on half of the problems
    rng = np.random.default_rng(5)
    right = rng.beta(6, 3, (1500, n))
    worse = np.where(rng.random(right.shape) < 0.5, right * 0.7, right)
    truth = (6 / 9) * 0.15
    differences = (rng.binomial(k, right) - rng.binomial(k, worse)) / k
    found = [intervals.mean_difference(values, samples=2 * n * k) for values in differences]
    assert 0.935 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.99


def test_a_paired_interval_has_a_width_where_no_difference_was_seen():
    none = intervals.mean_difference(np.zeros(100), samples=200)
    assert (none.value, none.low) == (0, -none.high)
    assert none.high == pytest.approx(1.98 / 102, rel=0.01)
    all_won = intervals.mean_difference(np.ones(10), samples=20)
    assert (all_won.value, all_won.high) == (1, 1)
    assert 0.4 < all_won.low < 0.6
    one = intervals.mean_difference(of(1.0), samples=2)
    assert (one.low < 0, one.high, one.standard_error) == (True, 1, None)
