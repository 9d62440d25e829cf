from promptmill.generate.watch import Watchdog


def never():
    raise AssertionError("asked before it is time")


def test_it_says_what_is_waited_for_once_nothing_has_moved_for_a_while_and_again_after_as_long():
    dog = Watchdog(quiet_s=60.0)
    assert dog.look(1000.0, never) is None
    assert dog.look(1059.9, never) is None
    assert dog.look(1060.0, lambda: ["the server", "a key"]) == ["the server", "a key"]
    assert dog.look(1061.0, never) is None
    assert dog.look(1119.9, never) is None
    assert dog.look(1120.0, lambda: ["a key"]) == ["a key"]


def test_whatever_moves_begins_the_wait_anew():
    dog = Watchdog(quiet_s=60.0)
    assert dog.look(0.0, never) is None
    dog.moved()
    assert dog.look(59.0, never) is None  # counted from here
    assert dog.look(118.0, never) is None
    assert dog.look(119.0, lambda: ["x"]) == ["x"]
    dog.moved()
    assert dog.look(500.0, never) is None
    assert dog.look(560.0, lambda: ["y"]) == ["y"]
