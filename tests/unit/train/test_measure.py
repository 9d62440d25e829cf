import numpy as np
import pytest

from promptmill.train.measure import Baselines, Draws, errors, measure


def floats(*values):
    return np.array(values, dtype=np.float64)


def test_errors_are_those_worked_out_by_hand():
    # gaps 10, -20, 0, 30 about actual 100, 200, 300, 400 (mean 250, squared deviations 50,000)
    found = errors(floats(110, 180, 300, 430), floats(100, 200, 300, 400), Draws(["a", "b", "c", "d"], seed=1))
    assert found.mae.value == 15
    assert found.rmse.value == pytest.approx((1400 / 4) ** 0.5)
    assert found.r2.value == pytest.approx(1 - 1400 / 50_000)
    assert found.mae.low < 15 < found.mae.high


def test_r2_of_rows_that_are_all_equal_is_none():
    assert errors(floats(1, 2), floats(5, 5), Draws(["a", "b"], seed=1)).r2 is None


def test_the_interval_draws_prompts_and_not_rows():
    # 1,000 rows of two prompts, one always right and one always 10 off: a draw of prompts is 0, 5 or 10
    gap = np.repeat(floats(0, 10), 500)
    of_two = Draws(["a"] * 500 + ["b"] * 500, seed=1).mean(gap)
    of_many = Draws([str(i) for i in range(1000)], seed=1).mean(gap)
    assert (of_two.value, of_two.low, of_two.high) == (5, 0, 10)
    assert of_many.value == 5
    assert 4.6 < of_many.low < of_many.high < 5.4


def test_the_three_baselines_are_those_worked_out_by_hand():
    baselines = Baselines(floats(0, 50, 0, 50), floats(10, 10, 30, 30), floats(100, 50, 140, 90), bucket_tokens=50)
    found = baselines.predict(floats(0, 60, 500), floats(10, 30, 50))
    assert found["mean"].tolist() == [95, 95, 95]
    assert found["prompt_length"].tolist() == [75, 115, 155]  # 40 tokens more for 20 characters more
    assert found["tokens_so_far"].tolist() == [120, 70, 70]  # beyond the last bucket the last one counts


def test_prompts_of_equal_length_give_a_flat_line():
    baselines = Baselines(floats(0, 0), floats(10, 10), floats(4, 6), bucket_tokens=50)
    assert baselines.predict(floats(0), floats(99))["prompt_length"].tolist() == [5]


def test_gains_are_paired_and_buckets_count_rows_and_prompts():
    actual = floats(100, 50, 200, 150)
    measured = measure(
        actual + 1,
        actual,
        {"mean": actual + 11},
        prompts=["a", "a", "b", "b"],
        n_tokens=floats(0, 50, 0, 50),
        bucket_tokens=50,
        seed=3,
    )
    gain = measured.mae_gains["mean"]
    assert (gain.value, gain.low, gain.high) == (10, 10, 10)  # every row gains 10, so every draw does
    assert (measured.rows, measured.prompts) == (4, 2)
    assert [(b.from_tokens, b.to_tokens, b.rows, b.prompts) for b in measured.by_prefix] == [
        (0, 50, 2, 2),
        (50, 100, 2, 2),
    ]
    assert measured.by_prefix[0].mae.value == 1
    assert measured.by_prefix[0].baselines == {"mean": 11}
