"""What does not cross: the program keeps it by number (`held`), the tests have a stand-in (`handles`)."""

import asyncio
import inspect
import itertools

import pytest

from promptmill.evaluate.sandbox.handles import Handles, Stream
from promptmill.evaluate.sandbox.held import Held, Source
from promptmill.evaluate.sandbox.values import Graph


@pytest.fixture
def given():
    """Both sides in one process: a value of the program's -> what the tests get."""
    held = Held()

    def ask(what, *arguments, **options):
        sent = [there(each) for each in arguments]
        method = getattr(held, what) if isinstance(what, str) else held.take(what, 0)
        return here(method(*sent, **options))

    def here(value):
        return Graph(handles).load(Graph(held).dump(value, subclasses=True))

    def there(value):
        return Graph(held).load(Graph(handles).dump(value))

    handles = Handles(ask)
    here.back = there
    return here


class Own:
    def __init__(self, n=0):
        self.n = n

    def __eq__(self, other):
        return isinstance(other, Own) and self.n == other.n

    def __hash__(self):
        return self.n

    def __lt__(self, other):
        return self.n < other.n

    def __repr__(self):
        return f"Own({self.n})"


def test_a_function_is_called_with_values_and_gives_values(given):
    function = given(lambda x, *, y=1: [x, y])
    assert callable(function)
    assert function(2, y=[3]) == [2, [3]]


def test_an_object_equals_its_like_and_no_value(given):
    one, same, other = given(Own(1)), given(Own(1)), given(Own(2))
    assert one == same
    assert one != other
    assert one < other
    assert {one, same, other} == {one, other}
    for value in (1, "Own(1)", None, [1], Own(1)):
        assert one != value
        assert value != one
    assert not hasattr(one, "n")
    assert not callable(one)
    assert f"{one} {one!r}" == "Own(1) Own(1)"


def test_one_object_has_one_stand_in_and_is_itself_when_it_comes_back(given):
    mine = Own(1)
    assert given(mine) is given(mine)
    assert given.back(given(mine)) is mine
    assert given.back([given(mine)])[0] is mine


def test_an_object_is_as_true_as_it_says(given):
    class Empty:
        def __len__(self):
            return 0

    class Broken:
        def __bool__(self):
            raise ValueError

    assert not given(Empty())
    assert given(Own())
    assert given(Broken())


def test_a_generator_is_a_genuine_one_and_read_as_far_as_it_is_asked(given):
    seen = []

    def numbers():
        for n in itertools.count():
            seen.append(n)
            yield n

    found = given(numbers())
    assert inspect.isgenerator(found)
    assert seen == []
    assert [next(found), next(found)] == [0, 1]
    assert seen == [0, 1]
    assert list(itertools.islice(found, 1000)) == list(range(2, 1002))
    assert len(seen) < 1600  # fetched ahead, but not far


def test_what_was_fetched_ahead_is_not_lost_when_an_iterator_goes_back(given):
    found = given(iter(range(1000)))
    assert isinstance(found, Stream)
    for expected in range(200):
        assert next(found) == expected
    theirs = given.back(found)
    assert next(theirs) == 200
    assert next(found) == 201
    assert list(found) == list(range(202, 1000))


def test_an_error_comes_where_the_next_item_should_be(monkeypatch):
    monkeypatch.setattr("promptmill.evaluate.sandbox.held.PULL_S", 1000.0)  # else what a slow machine gathers is less

    def items():
        yield 1
        yield 2
        raise KeyError("three")

    source = Source(items())
    assert source.pull(10) == ([1, 2], False)
    with pytest.raises(KeyError):
        source.pull(10)
    assert source.pull(10) == ([], True)


def test_an_iterator_gives_so_many_items_and_no_more(monkeypatch, given):
    monkeypatch.setattr("promptmill.evaluate.sandbox.handles.MAX_ITEMS", 300)
    with pytest.raises(MemoryError, match="more than 300 items"):
        list(given(itertools.repeat(1)))


@pytest.mark.parametrize("reply", [({1: 2}, True), ((1, 2), True), ("ab", False), ([1, 2], True)])
def test_items_that_were_not_asked_for_are_refused(reply):
    with pytest.raises(TypeError, match="the items of an iterator are no list"):
        next(Stream(lambda *_: reply, 0))


@pytest.mark.parametrize("sent", [(True, "f", True), (-1, "f", True), (0, 5, True), (0, "f", 1), ("0", "f", True)])
def test_what_names_no_stand_in_is_refused(sent):
    with pytest.raises(TypeError, match="a stand-in"):
        Handles(lambda *_: None).take(*sent)


def test_coroutines_run_side_by_side_in_turns_of_the_programs_loop():
    held, order = Held(), []

    async def work(name, passes):
        for n in range(2):
            for _ in range(passes):
                await asyncio.sleep(0)
            order.append(f"{name}{n}")
        return name

    slow, quick = (held.start(held.give(work(*each))[0]) for each in (("slow", 100), ("quick", 1)))
    for _ in range(10_000):
        done = [held.turn(slow), held.turn(quick)]
        if done == [(True, "slow"), (True, "quick")]:
            break
    assert order == ["quick0", "quick1", "slow0", "slow1"]


def test_a_coroutine_that_is_cancelled_clears_up_and_one_that_raises_says_so():
    held, seen = Held(), []

    async def long():
        try:
            await asyncio.sleep(1000)
        finally:
            seen.append("cleared up")

    async def wrong():
        raise LookupError("no")

    task = held.start(held.give(long())[0])
    assert held.turn(task) == (False, None)
    held.cancel(task)
    assert seen == ["cleared up"]
    with pytest.raises(asyncio.CancelledError):
        held.turn(task)
    other = held.start(held.give(wrong())[0])
    with pytest.raises(LookupError, match="no"):
        held.turn(other)


def test_an_asynchronous_generator_is_awaited_item_by_item_to_its_end():
    held = Held()

    async def items():
        yield 1
        yield 2

    number, sort, _ = held.give(items())
    assert sort == "a"
    assert [held.turn(held.start(number)), held.turn(held.start(number))] == [(True, 1), (True, 2)]
    with pytest.raises(StopAsyncIteration):
        held.turn(held.start(number))
