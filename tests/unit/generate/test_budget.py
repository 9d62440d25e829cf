"""What is noted for a session after a kill: never less than what was sent, and little more."""

import pytest

from promptmill.errors import RunError
from promptmill.generate.budget import Budget, Caps, Spent
from promptmill.records import Request, Sampling, Usage

PRICES = (1e-6, 4e-6)


def request(max_tokens=10):
    return Request(
        prompt_id="p", model="m", sample=0, protocol="chat", text="hello", sampling=Sampling(max_tokens=max_tokens)
    )


class Disk:
    """Keeps what was noted last, and how often."""

    def __init__(self):
        self.last, self.times = Spent(), 0

    def __call__(self, noted):
        self.last, self.times = noted, self.times + 1


@pytest.mark.parametrize("caps", [Caps(max_requests=1000), Caps(max_tokens=250_000), Caps(max_cost=0.3)])
def test_whatever_is_sent_under_a_cap_is_noted_before_and_in_few_writes(caps):
    disk = Disk()
    budget = Budget(caps, prices=PRICES, keep=disk)
    worst = budget.worst([request()])
    n_sent = 0
    while (reserved := budget.reserve([request()])) is not None:
        n_sent += 1
        assert caps.max_requests is None or n_sent <= disk.last.requests <= caps.max_requests
        if caps.max_tokens is not None:
            assert n_sent * worst.tokens <= disk.last.uncertain_tokens + disk.last.reserved_tokens <= caps.max_tokens
        if caps.max_cost is not None:
            noted = disk.last.uncertain_cost + disk.last.reserved_cost
            assert n_sent * worst.cost <= noted * (1 + 1e-9) <= caps.max_cost * (1 + 1e-9)
        budget.settle_uncertain(reserved, [request()])
    assert n_sent > 800
    assert disk.times < n_sent / 2


def test_of_what_is_left_little_is_noted_before_it_is_sent():
    disk = Disk()
    budget = Budget(Caps(max_requests=500), keep=disk)
    budget.reserve([request()])
    assert disk.last.requests == 1 + 9  # a fiftieth of the 499 that are left
    many = Budget(Caps(max_requests=1_000_000), keep=disk)
    many.reserve([request()])
    assert disk.last.requests == 1 + 256


def test_a_beat_notes_what_is_spent_without_more_and_the_next_request_is_noted_again():
    disk = Disk()
    budget = Budget(Caps(max_requests=500, max_tokens=100_000), keep=disk)
    reserved = budget.reserve([request()])
    budget.settle(reserved, billed=Usage(prompt_tokens=5, completion_tokens=5))
    budget.note()
    assert disk.last == Spent(requests=1, tokens=10)
    budget.reserve([request()])
    assert disk.last.requests > 2
    assert disk.last.reserved_tokens > budget.worst([request()]).tokens


@pytest.mark.parametrize("n_answered", range(6))
def test_answers_between_the_last_note_and_a_kill_take_the_place_of_their_worst_case(n_answered):
    disk, caps = Disk(), Caps(max_tokens=1_400, max_cost=0.01)
    budget = Budget(caps, prices=PRICES, keep=disk)
    worst = budget.worst([request()])
    for each in [budget.reserve([request()]) for _ in range(5)][:n_answered]:
        budget.settle(each, billed=Usage(prompt_tokens=5, completion_tokens=5), cost=2.5e-5)
    after_kill = disk.last.gone_on(10 * n_answered, 2.5e-5 * n_answered)
    used = after_kill.tokens + after_kill.uncertain_tokens
    sent = 10 * n_answered + worst.tokens * (5 - n_answered)
    assert sent <= used == disk.last.reserved_tokens <= caps.max_tokens
    assert after_kill.cost + after_kill.uncertain_cost == pytest.approx(disk.last.reserved_cost)
    assert (after_kill.requests, after_kill.reserved_tokens, after_kill.reserved_cost) == (disk.last.requests, 0, 0.0)


def test_answers_that_were_noted_and_what_broke_count_as_they_did():
    noted = Spent(requests=9, tokens=70, cost=0.7, uncertain_tokens=5, uncertain_cost=0.25)
    assert noted.gone_on(60, 0.6) == noted
    more = Spent(requests=9, tokens=80, cost=0.75, uncertain_tokens=5, uncertain_cost=0.25)
    assert noted.gone_on(80, 0.75) == more


def test_without_a_cap_nothing_is_noted_but_by_beats():
    disk = Disk()
    budget = Budget(Caps(), keep=disk)
    for _ in range(100):
        budget.settle(budget.reserve([request()]))
    assert disk.times == 0
    budget.note()
    assert (disk.times, disk.last.requests) == (1, 100)


def test_a_cap_that_comes_while_it_works_is_noted_from_then_on():
    disk = Disk()
    budget = Budget(Caps(), Spent(requests=7), keep=disk)
    budget.reserve([request()])
    budget.change(Caps(max_requests=100))
    budget.reserve([request()])
    assert disk.last.requests >= 9


def test_what_cannot_be_noted_is_not_sent():
    def full(_):
        raise RunError("spent.json: cannot be written")

    with pytest.raises(RunError, match="cannot be written"):
        Budget(Caps(max_requests=10), keep=full).reserve([request()])


def test_what_was_set_aside_leaves_no_trace_where_nothing_is_in_flight():
    budget = Budget(Caps(max_cost=1.0), prices=(0.15e-6, 0.6e-6))
    taken = [budget.reserve([request(n)]) for n in range(1, 300)]
    for reserved in taken:
        budget.settle(reserved)
    assert (budget.noted().uncertain_tokens, budget.noted().uncertain_cost) == (0, 0.0)
