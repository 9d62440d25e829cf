"""A user's own async function as an endpoint."""

import asyncio
import contextlib
import sys
import threading

import pytest

from promptmill import errors
from promptmill.endpoints.function import Function, function
from promptmill.records import Completion, Usage


async def echo(request):
    return request.text


def returning(value):
    async def answer(_request):
        return value

    return Function(answer, name="mine")


def test_a_text_is_the_answer(ask, raw):
    got = ask(Function(echo), raw("Hello", max_tokens=9))
    assert (got.text, got.finish, got.usage, got.reasoning) == ("Hello", "stop", None, None)
    assert (got.key, got.served_by, got.max_tokens) == (raw("Hello", max_tokens=9).key, "echo", 9)


def test_a_mapping_can_say_more(ask, raw):
    said = {"text": "4", "finish": "length", "reasoning": "2 and", "prompt_tokens": 3, "completion_tokens": 5}
    got = ask(returning(said), raw())
    assert (got.text, got.finish, got.reasoning) == ("4", "length", "2 and")
    assert got.usage == Usage(prompt_tokens=3, completion_tokens=5)


def test_half_a_surrogate_pair_becomes_the_sign_for_what_cannot_be_read(ask, raw):
    said = {"text": "\ud83d\ude00 \ud83d end", "reasoning": "\ude00"}
    got = ask(returning(said), raw())
    assert (got.text, got.reasoning) == ("\U0001f600 \ufffd end", "\ufffd")


def test_a_completion_of_another_endpoint_gets_this_requests_key(ask, raw):
    usage = Usage(prompt_tokens=3, completion_tokens=5)
    other = Completion(key="other", prompt_id="q", model="m", text="4", finish="stop", usage=usage, token_ids=(1, 2))
    got = ask(returning(other), raw())
    assert (got.key, got.prompt_id, got.model) == (raw().key, "p1", "fake")
    assert (got.text, got.usage, got.token_ids) == ("4", usage, (1, 2))


@pytest.mark.parametrize("value", [None, 5, b"x", ["x"], {}, {"txt": "x"}, {"text": 5}, {"text": "x", "finish": "eos"}])
def test_what_is_no_answer_is_a_failure_that_says_what_to_return(ask, raw, value):
    with pytest.raises(
        errors.Refused, match=r"mine: returned .* Return a text, or a mapping with text and any of: finish"
    ):
        ask(returning(value), raw())


@pytest.mark.parametrize(
    "error",
    [
        errors.RateLimited("slow down", retry_after_s=3),
        errors.Unavailable("x"),
        errors.ConfigError("x"),
        errors.Filtered("x"),
    ],
    ids=repr,
)
def test_errors_of_ours_pass_as_they_are(ask, raw, error):
    async def answer(_request):
        raise error

    with pytest.raises(type(error)) as caught:
        ask(Function(answer), raw())
    assert caught.value is error


def test_a_cancellation_that_is_not_ours_and_an_exit_are_bugs_of_that_prompt(ask, raw):
    async def waits_for_what_was_cancelled(_request):
        other = asyncio.ensure_future(asyncio.sleep(50))
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    async def exits(_request):
        sys.exit("no more")

    with pytest.raises(errors.Refused, match=r"waits_for_.*: CancelledError \(test_function\.py:\d+\)\."):
        ask(Function(waits_for_what_was_cancelled), raw())
    with pytest.raises(errors.Refused, match=r"exits: SystemExit: no more \(test_function\.py:\d+\)\."):
        ask(Function(exits), raw())


def test_a_cancellation_that_is_ours_stays_one(raw):
    async def hangs(_request):
        await asyncio.Event().wait()

    async def give_up():
        asking = asyncio.create_task(Function(hangs).complete(raw()))
        await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
        return asking.cancelled()

    assert asyncio.run(give_up())


def test_a_call_that_takes_every_cancellation_is_left_where_it_stands(raw):
    async def tries_for_ever(_request):
        while True:
            with contextlib.suppress(BaseException):
                await asyncio.sleep(0.01)

    async def give_up():
        with pytest.raises(errors.Timeout, match=r"no answer within 0\.05 s"):
            await Function(tries_for_ever, timeout_s=0.05).complete(raw())
        assert asyncio.current_task().cancelling() == 0
        asking = asyncio.create_task(Function(tries_for_ever).complete(raw()))
        await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking], timeout=120)
        return asking.cancelled()

    found = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(give_up())), daemon=True)
    thread.start()
    thread.join(120)
    assert found == [True]


def test_a_call_that_is_given_up_may_end_in_order(at_once, raw):
    ended = []

    async def closes(_request):
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            ended.append("closed")

    async def answers(_request):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "all the same"

    async def give_up(answer):
        asking = asyncio.create_task(Function(answer).complete(raw()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        return "cancelled" if asking.cancelled() else asking.result().text

    assert (at_once(give_up(closes)), ended) == ("cancelled", ["closed"])
    assert at_once(give_up(answers)) == "all the same"


def test_too_long_a_call_and_its_own_time_out_are_timeouts(ask, raw):
    async def hangs(_request):
        await asyncio.Event().wait()

    async def gives_up(_request):
        raise TimeoutError

    with pytest.raises(errors.Timeout, match=r"no answer within 0\.05 s"):
        ask(Function(hangs, timeout_s=0.05), raw())
    with pytest.raises(errors.Timeout):
        ask(Function(gives_up), raw())


def test_a_bug_is_a_failure_with_its_place_in_the_users_file(ask, raw, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import json\n\ndef deeper(text):\n    return json.loads(text)\n\n"
        "async def answer(request):\n    return deeper('{\\n')\n"
    )
    with pytest.raises(errors.Refused) as caught:
        ask(function(function=f"{file}:answer"), raw())
    assert str(caught.value) == (
        f"{file}:answer: JSONDecodeError: Expecting property name enclosed in double quotes: line 2 column 1 (char 2) "
        "(mine.py:4)."
    )
    assert type(caught.value) is errors.Refused


def test_a_module_of_the_working_folder_is_found(ask, raw, tmp_path, monkeypatch):
    (tmp_path / "answers_of_mine.py").write_text("async def answer(request):\n    return 'from ' + __name__\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    got = ask(function(function="answers_of_mine:answer"), raw())
    assert (got.text, got.served_by) == ("from answers_of_mine", "answers_of_mine:answer")


def test_an_object_whose_call_is_async_will_do(ask, raw):
    class Model:
        async def __call__(self, request):
            return request.model

    got = ask(Function(Model()), raw())
    assert (got.text, got.served_by) == ("fake", "Model")


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        (
            "def answer(request):\n    return 'x'\n",
            "answer",
            r"answer is not async\. Write it as: async def answer\(request\)",
        ),
        ("async def answer():\n    return 'x'\n", "answer", r"cannot be called with one request: too many"),
        ("async def answer(a, b):\n    return 'x'\n", "answer", r"cannot be called with one request: missing"),
        ("answer = 5\n", "answer", r"has no function 'answer'"),
        ("", "answer", r"has no function 'answer'\. Check the name behind the colon"),
        (
            "import no_such_module_at_all\n",
            "answer",
            r"No module named 'no_such_module_at_all'.*install what it imports",
        ),
        ("import sys\nsys.exit(3)\n", "answer", r"cannot be imported: SystemExit: 3 \(mine\.py:2\)"),
        ("1 / 0\n", "answer", r"cannot be imported: ZeroDivisionError: division by zero \(mine\.py:1\)"),
        ("def answer(:\n", "answer", r"cannot be imported: SyntaxError"),
    ],
)
def test_what_is_no_such_function_is_told_before_anything_is_asked(tmp_path, source, name, said):
    file = tmp_path / "mine.py"
    file.write_text(source)
    with pytest.raises(errors.ConfigError, match=said):
        function(function=f"{file}:{name}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("answer", "names no function"),
        (":answer", "names no function"),
        ("mine:", "names no function"),
        ("no/such.py:answer", "no such file"),
        ("no_such_module_at_all:answer", "No module named"),
    ],
)
def test_a_wrong_name_is_told_with_the_form_it_should_have(text, said):
    with pytest.raises(errors.ConfigError, match=said):
        function(function=text)


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan")])
def test_a_deadline_that_is_none_is_an_error(timeout_s):
    with pytest.raises(errors.ConfigError, match=r"timeout_s: .* is no deadline"):
        Function(echo, timeout_s=timeout_s)


def test_any_model_is_served(check):
    check(Function(echo), "anything")
