"""The width that a lane finds by itself, on clocks that are written out."""

from promptmill.generate.lane import Lane, LaneOptions
from promptmill.generate.limits import START, Width
from promptmill.records import Usage


def bursts(width, *, latency_s, seconds, most_at_once=10**9):
    """A server that answers `most_at_once` together every `latency_s`; the lane is always full."""
    waiting, now = [0.0] * width.value, 0.0
    while now < seconds:
        now += latency_s
        came, waiting = waiting[:most_at_once], waiting[most_at_once:]
        for number, sent_at in enumerate(came):
            in_flight = len(waiting) + len(came) - number
            width.answered(now, in_flight=max(in_flight, width.value), latency_s=now - sent_at)
        waiting += [now] * (width.value - len(waiting))
    return width.value


def test_a_server_without_limits_is_soon_asked_as_much_as_is_allowed():
    assert bursts(Width(fixed=None, most=256), latency_s=0.1, seconds=1.0) == 256


def test_answers_that_come_together_do_not_pass_for_a_fast_server():
    width = Width(fixed=None, most=1000)
    bursts(width, latency_s=0.1, seconds=0.25)
    # sixteen answers in one instant would be a rate that no later round reaches
    assert width.value > 2 * START


def test_a_server_of_four_slots_is_not_flooded():
    assert bursts(Width(fixed=None, most=256), latency_s=0.5, seconds=600.0, most_at_once=4) <= 4 * START


def test_the_width_does_not_creep_up_while_the_rate_stays_the_same():
    early, late = (
        bursts(Width(fixed=None, most=10_000), latency_s=0.5, seconds=seconds, most_at_once=4)
        for seconds in (120.0, 4000.0)
    )
    assert early == late


def test_one_burst_of_complaints_is_one_decrease_and_growth_is_slow_near_that_width():
    width = Width(fixed=None, most=1000)
    bursts(width, latency_s=0.1, seconds=0.5)
    before = width.value
    for _ in range(10):
        width.overloaded(0.5, sent_at=0.4)
    assert width.value == int(before * 0.75)


def test_a_fixed_width_stays():
    width = Width(fixed=512, most=256)
    width.answered(1.0, in_flight=512, latency_s=1.0)
    width.overloaded(1.0, sent_at=0.5)
    assert width.value == 512


def test_tokens_per_minute_hold_a_lane_back_until_the_bill_says_that_fewer_were_used():
    lane = Lane(None, "only", LaneOptions(tpm=100), width=8)
    lane.take(0.0, 80)
    assert lane.free_at(0.0, 30) == 60.0
    lane.answered(1.0, latency_s=1.0, n_tokens=80, billed=Usage(prompt_tokens=5, completion_tokens=15))
    assert lane.free_at(1.0, 30) == 1.0
