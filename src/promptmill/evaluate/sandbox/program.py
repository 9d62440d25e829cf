"""The process that runs a model's code: it loads the code, then answers calls with plain values until it is killed.

It never sees the tests (but where they can only run together with the code). Everything here is in the hands of the
code as soon as that runs; what is written below is for honest programs. Nobody believes more of this process than that
it answered a call with some plain value.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import random
import sys
from types import CodeType, ModuleType
from typing import Any

from promptmill.evaluate.sandbox.frames import Broken, Channel
from promptmill.evaluate.sandbox.held import Held
from promptmill.evaluate.sandbox.raising import told
from promptmill.evaluate.sandbox.values import Graph, Unplain

MODULE = "solution"  # not __main__: what stands under `if __name__ == "__main__"` is a demonstration


def serve(tests: Channel) -> None:
    """Load the program that is sent first, then answer calls as long as somebody asks."""
    try:
        job = tests.receive()
        names = load(job["setup"], job["program"], job["entry_point"])
        if isinstance(names, list):
            tests.send({"raised": names})
            return
        tests.send({"loaded": True})
        held = Held()
        while True:
            message = tests.receive()
            tests.send(run_tests(names, message) if "tests" in message else call(names, held, message))
    except Broken:
        return  # the tests are over


def prelude(setup: str) -> tuple[CodeType, str]:
    """Compile what stands before a program; its last function gets a body, where it has none.

    Returns:
        The code, and the text that it was made of.

    Raises:
        SyntaxError: it is no Python.
    """
    try:
        return compile(setup, "<setup>", "exec", dont_inherit=True), setup
    except SyntaxError:
        setup = f"{setup}\n    pass"
        return compile(setup, "<setup>", "exec", dont_inherit=True), setup


def load(setup: str, program: str, entry_point: str | None) -> dict[str, Any] | list[Any]:
    """Run a program's top level.

    Returns:
        Its names; or what it raised, as `told` says.
    """
    module = ModuleType(MODULE)
    sys.modules[MODULE] = module
    names = module.__dict__
    try:
        exec(prelude(setup)[0], names)  # noqa: S102 - this process is jailed
        names.pop(entry_point or "", None)  # the setup's function has no body: it must not be taken for an answer
        exec(compile(program, "<program>", "exec", dont_inherit=True), names)  # noqa: S102 - and here is why
    except BaseException as error:  # noqa: BLE001 - a program may raise anything
        return told(error)
    return names


def call(names: dict[str, Any], held: Held, message: dict[str, Any]) -> dict[str, Any]:
    """Call one of the program's functions, or do something with one of its objects.

    Returns:
        `value` or `raised`, the new content of arguments that were changed in place, and what was printed.
    """
    graph = Graph(held)
    arguments = [graph.load(each) for each in message["arguments"]]
    options = {name: graph.load(each) for name, each in message.get("options", {}).items()}
    sent = graph.mutable()
    before = graph.contents(sent)
    if "random" in message:
        random.setstate((3, tuple(message["random"]), None))
    printed = io.StringIO() if "printing" in message else None
    answer: dict[str, Any] = {}
    try:
        with contextlib.redirect_stdout(printed) if printed else NO_CHANGE:
            value = _called(names, held, message)(*arguments, **options)
    except BaseException as error:  # noqa: BLE001 - a program may raise anything
        answer["raised"] = told(error)
    try:
        now = graph.contents(sent, subclasses=True)
        if now != before:
            changes = {str(n): new for n, old, new in zip(sent, before, now, strict=True) if new != old}
            answer["changed"] = changes
        if "raised" not in answer:
            answer["value"] = graph.dump(value, subclasses=True)
    except Unplain as error:
        return {"unplain": str(error)}
    except BaseException as error:  # noqa: BLE001 - a subclass runs the program's code
        answer = {"raised": told(error)}
    if printed:
        answer["printed"] = printed.getvalue()
    return answer


NO_CHANGE = contextlib.nullcontext()


def _called(names: dict[str, Any], held: Held, message: dict[str, Any]) -> Any:
    """What a message wants to be called: a name of the program's, a method of `Held`, or what that keeps."""
    if "call" in message:
        return names[message["call"]]
    what = message["held"]
    return getattr(held, what) if isinstance(what, str) else held.take(what, 0)


def run_tests(names: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """Run tests in the program's own process, for tests that cannot be run apart. The program could forge this.

    Only naive tricks are met: names of `builtins` that were replaced are put back, and the process must give back a
    token that it gets with the tests, after the program's top level has run.
    """
    for name, value in _BUILTINS.items():
        setattr(builtins, name, value)
    try:
        for number, text in enumerate(message["tests"], 1):
            try:
                exec(compile(text, f"<test {number}>", "exec", dont_inherit=True), names)  # noqa: S102 - jailed
            except BaseException as error:  # noqa: BLE001 - whatever it raised, the test did not pass
                return {"raised": told(error), "where": f"test {number} of {len(message['tests'])}"}
    finally:
        _BUILTINS.clear()
    return {"passed": message["token"]}


_BUILTINS = dict(vars(builtins))
