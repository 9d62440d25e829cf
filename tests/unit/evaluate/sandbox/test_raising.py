"""Exceptions cross as genuine ones of a known type, with their text and their arguments; what else is sent does not."""

import asyncio
import decimal
import json

import pytest

from promptmill.evaluate.sandbox.raising import exception, raised, shown, told


class OwnError(ValueError):
    def __init__(self, field):
        super().__init__(f"bad {field}")


class LoudError(KeyError):
    def __str__(self):
        return "loud"


class SilentError(TypeError):
    def __str__(self):
        raise RuntimeError


def crossed(error):
    return exception({"raised": json.loads(json.dumps(told(error)))})


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"), KeyError("k"), KeyError(3), IndexError(), TypeError("a", 5, [1]),
        FileNotFoundError(2, "No such file", "x"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), StopIteration(7),
        decimal.InvalidOperation("x"), asyncio.QueueEmpty(), asyncio.CancelledError("c"), OverflowError(2**70),
    ],
    ids=repr,
)  # fmt: skip
def test_a_known_exception_comes_out_as_it_went_in(error):
    found = crossed(error)
    assert type(found) is type(error)
    assert (str(found), found.args) == (str(error), error.args)


def test_one_that_needs_more_than_its_text_has_its_text():
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    found = crossed(caught.value)
    assert type(found) is json.JSONDecodeError
    assert str(found) == str(caught.value)


def test_a_programs_own_exception_is_the_nearest_known_one_with_its_text():
    found = crossed(OwnError("name"))
    assert (type(found), str(found), found.args) == (ValueError, "bad name", ("bad name",))
    assert shown(found) == "ValueError: OwnError: bad name"
    assert type(crossed(LoudError("k"))) is KeyError
    assert crossed(LoudError("k")).args == ("loud",)
    assert str(crossed(SilentError("x"))) == ""


def test_arguments_that_do_not_cross_leave_the_text():
    found = crossed(ValueError("see", object))
    assert type(found) is ValueError
    assert crossed(ValueError(print)).args == ("<built-in function print>",)


@pytest.mark.parametrize(
    "sent",
    [
        None, 5, [], ["ValueError"], ["ValueError", "x", None], ["ValueError", 5, None, ""],
        [["ValueError"], "x", None, ""],
        ["eval", "1", None, ""], ["SystemExit", "0", ["t", 0], ""], ["KeyboardInterrupt", "", None, ""],
        ["os.error", "", None, ""], ["os.system", "true", ["t", "true"], ""], ["builtins.ValueError", "x", None, ""],
        ["json.decoder.scanner", "", None, ""], ["subprocess.Popen", "x", ["t", "x"], ""], ["object", "", None, ""],
        ["BaseException", "", None, ""], ["GeneratorExit", "", None, ""],
    ],
)  # fmt: skip
def test_what_is_no_exception_that_a_function_may_raise_is_none(sent):
    assert exception({"raised": sent}) is None


@pytest.mark.parametrize(
    "arguments", [5, {}, ["l", 1], ["t", ["o", 0, "f", True]], ["x"], [], "ab", ["t", ["i", "f" * 9000]]]
)
def test_arguments_that_nobody_wrote_leave_the_text(arguments):
    found = exception({"raised": ["ValueError", "text", arguments, ""]})
    assert (type(found), str(found)) == (ValueError, "text")


def test_what_is_told_to_people_is_short():
    assert raised({"raised": ["ValueError", "x" * 9000, None, "Own"]})[1] == "Own: " + "x" * 495
    assert raised({}) == ("", "")
    assert len(shown(ValueError("x" * 9000))) < 300
