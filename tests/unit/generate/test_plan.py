import math

import pytest

from promptmill.generate.plan import Left, Limit, Observed, Range, choose_pilot, estimate, least_s


def seen(count, *, spread=0):
    """Prompts of 100, 110, ... bytes: 25 tokens and one for every 10 bytes above, answers of 40 tokens +- spread."""
    return [
        Observed(n_bytes=100 + 10 * n, prompt_tokens=25 + n, new_tokens=40 + spread * (-1) ** n, busy_s=2.0)
        for n in range(count)
    ]


def test_what_is_constant_or_linear_is_estimated_exactly_with_no_range():
    found = estimate(seen(10), [Left(200), Left(400), Left(110)], prices=(0.001, 0.01), in_flight=4)
    assert found.prompts == 10
    # 25 + (200 - 100) / 10 = 35, 25 + 30 = 55, 25 + 1 = 26
    for value, expected in [
        (found.prompt_tokens, 116.0),
        (found.new_tokens, 120.0),
        (found.cost, 116 * 0.001 + 120 * 0.01),
        (found.time_s, 3 * 2.0 / 4),
    ]:
        assert [value.low, value.mid, value.high] == pytest.approx([expected] * 3)


def test_prompts_of_one_size_are_estimated_by_their_mean():
    rows = [Observed(100, tokens, 10, 1.0) for tokens in (20, 30)]
    assert estimate(rows, [Left(9000)], prices=None, in_flight=1).prompt_tokens.mid == 25


def test_a_longer_prompt_is_never_thought_to_have_fewer_tokens():
    rows = [Observed(100, 50, 10, 1.0), Observed(200, 40, 10, 1.0)]
    few, many = (estimate(rows, [Left(size)], prices=None, in_flight=1).prompt_tokens.mid for size in (10, 10_000))
    assert few == many == 45


def test_no_prompt_has_less_than_no_tokens():
    rows = [Observed(1000, 10, 1, 1.0), Observed(2000, 1010, 1, 1.0)]
    assert estimate(rows, [Left(1)], prices=None, in_flight=1).prompt_tokens.mid == 0


def test_ranges_hold_the_middle_and_are_wider_for_fewer_prompts():
    left = [Left(150)] * 100
    few, many = (estimate(seen(n, spread=20), left, prices=None, in_flight=1).new_tokens for n in (6, 60))
    assert few.low < few.mid < few.high
    assert many.low < many.mid < many.high
    assert few.mid == many.mid == 4000
    assert few.high - few.low > 2 * (many.high - many.low)


def test_without_prices_there_is_no_money():
    assert estimate(seen(3), [Left(100)], prices=None, in_flight=1).cost is None


def test_the_same_answers_give_the_same_ranges():
    one, other = (estimate(seen(9, spread=5), [Left(120)] * 7, prices=(1, 1), in_flight=2) for _ in range(2))
    assert one == other


def test_of_a_prompt_that_is_open_in_part_only_its_share_counts():
    whole = estimate(seen(4), [Left(130)], prices=None, in_flight=1)
    part = estimate(seen(4), [Left(130, prompt_share=1.0, share=0.375)], prices=None, in_flight=1)
    assert part.prompt_tokens.mid == whole.prompt_tokens.mid == 28
    assert (part.new_tokens.mid, part.time_s.mid) == (15.0, 0.75)
    assert estimate(seen(4), [Left(130, prompt_share=0.5)], prices=None, in_flight=1).prompt_tokens.mid == 14


def test_time_is_that_of_at_least_one_request_at_a_time():
    assert estimate(seen(3), [Left(100)], prices=None, in_flight=0.2).time_s.mid == 2.0


def test_one_answer_is_enough_for_an_estimate():
    found = estimate(seen(1), [Left(5)], prices=None, in_flight=1)
    assert found.prompt_tokens == Range(25.0, 25.0, 25.0)
    assert not math.isnan(found.new_tokens.high)


def test_a_pilot_takes_one_prompt_of_every_stratum_of_size():
    sizes = [(n * 37) % 100 for n in range(100)]  # 0 to 99, mixed
    chosen = choose_pilot(sizes, 10, seed=0)
    assert sorted(sizes[position] // 10 for position in chosen) == list(range(10))


def test_a_pilot_is_the_same_every_time_and_another_for_another_seed():
    sizes = [n % 7 for n in range(200)]
    assert choose_pilot(sizes, 20, seed=0) == choose_pilot(sizes, 20, seed=0)
    assert choose_pilot(sizes, 20, seed=0) != choose_pilot(sizes, 20, seed=1)


@pytest.mark.parametrize("count", [3, 4, 50])
def test_a_pilot_of_more_than_there_are_takes_all(count):
    assert choose_pilot([5, 1, 9], count, seed=0) == [0, 1, 2]


def test_a_pilot_of_no_prompts_is_empty():
    assert choose_pilot([], 5, seed=0) == []


@pytest.mark.parametrize(
    ("n_requests", "n_tokens", "limits", "seconds"),
    [
        (0, 0, [Limit(10, None)], 0.0),
        (10, 0, [Limit(10, None)], 0.0),  # all of a minute may go at once
        (11, 0, [Limit(10, None)], 60.0),
        (100, 0, [Limit(10, None)], 540.0),
        (100, 0, [Limit(10, None), Limit(15, None)], 180.0),
        (100, 0, [Limit(10, None), Limit(None, None)], 0.0),  # the second takes the rest
        (100, 0, [], 0.0),
        (100, 20_000, [Limit(None, 1000)], 1140.0),  # five of 200 tokens a minute
        (100, 20_000, [Limit(4, 1000)], 1440.0),
        (4, 20_000, [Limit(None, 1000)], 180.0),  # each larger than a minute's: one a minute
    ],
)
def test_limits_per_minute_bound_the_time_from_below(n_requests, n_tokens, limits, seconds):
    assert least_s(n_requests, n_tokens, limits) == seconds
