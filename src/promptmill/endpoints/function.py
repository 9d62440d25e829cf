"""A user's own async function as an endpoint: what it returns is the answer, what it raises is the failure.

    async def answer(request):            # a promptmill.records.Request
        return "the answer"               # or {"text": ..., "finish": "length", "reasoning": ..., ...}

An `EndpointError` that the function raises is treated as if a server had caused it (`RateLimited` is waited for), a
`TimeoutError` as a timeout. Any other exception (also `sys.exit`, and the cancellation of a task that it waited for) is
a bug for that prompt: a failure that is not asked again, with the place in the user's file; a run whose first requests
all fail so ends early.

Not covered: functions that block (they stop all requests at a time; use `asyncio.to_thread`), and splitting reasoning
from the text, which is the function's own business.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import importlib.util
import inspect
import math
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from promptmill.endpoints.loose import Count
from promptmill.errors import ConfigError, PromptmillError, Refused, Timeout
from promptmill.records import Completion, Finish, Request, Usage

GRACE_S = 1.0  # for a call that is given up, to end in order
DETAIL_CHARS = 200


class _Answered(msgspec.Struct, forbid_unknown_fields=True):
    """What a function may return in place of a text."""

    text: str
    finish: Finish = "stop"
    reasoning: str | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    token_ids: tuple[int, ...] | None = None


class Function:
    """An `Endpoint` that calls an async function.

    Args:
        answer: called with the request.
        name: what rows and messages call it; its own name unless given.
        timeout_s: seconds that one call may take.

    Raises:
        ConfigError: it is not async, does not take one argument, or the deadline is none.
    """

    def __init__(
        self, answer: Callable[[Request], Awaitable[Any]], *, name: str | None = None, timeout_s: float = 300.0
    ) -> None:
        self._name: str = name or getattr(answer, "__qualname__", None) or type(answer).__name__
        if not timeout_s > 0 or math.isinf(timeout_s):
            raise ConfigError(f"timeout_s: {timeout_s} is no deadline. Give a number of seconds above 0.")
        if not (inspect.iscoroutinefunction(answer) or inspect.iscoroutinefunction(getattr(answer, "__call__", None))):  # noqa: B004 - an object whose __call__ is async will do
            raise ConfigError(
                f"function: {self._name} is not async. Write it as: async def {_plain(self._name)}(request)."
            )
        try:
            inspect.signature(answer).bind(None)
        except TypeError as error:
            raise ConfigError(f"function: {self._name} cannot be called with one request: {error}.") from None
        self._answer = answer
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"Function({self._name})"

    async def complete(self, request: Request) -> Completion:
        """Call it once.

        Raises:
            EndpointError: the function raised one, failed, took too long, or returned something else than an answer.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.sleep(0)  # a function that never waits would keep the loop from hearing signals
                value = await _Leash(self._answer(request))
        except PromptmillError:
            raise
        except TimeoutError:
            raise Timeout(f"{self._name}: no answer within {self._timeout_s:g} s, or its own time-out.") from None
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            raise Refused(f"{self._name}: {_told(error, self._answer)}") from None  # of a task that it waited for
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the user's code, and one prompt's bug must not end the run
            raise Refused(f"{self._name}: {_told(error, self._answer)}") from None
        latency_s = time.perf_counter() - began
        said, usage = self._read(value)
        limit = request.sampling.max_tokens
        return Completion(
            key=request.key,
            prompt_id=request.prompt_id,
            model=request.model,
            sample=request.sample,
            text=_whole_characters(said.text),
            reasoning=None if said.reasoning is None else _whole_characters(said.reasoning),
            finish=said.finish,
            usage=usage,
            token_ids=said.token_ids,
            latency_s=latency_s,
            served_by=self._name,
            max_tokens=None if limit == "context" else limit,
        )

    async def check(self, model: str) -> None:
        """Nothing to ask: a function serves any model."""

    async def close(self) -> None:
        """Nothing to give back."""

    def _read(self, value: Any) -> tuple[_Answered, Usage | None]:
        """What the function returned, checked.

        Raises:
            Refused: it is no answer.
        """
        if isinstance(value, str):
            return _Answered(text=value), None
        if isinstance(value, Completion):
            said = _Answered(text=value.text, finish=value.finish, reasoning=value.reasoning, token_ids=value.token_ids)
            return said, value.usage
        try:
            said = msgspec.convert(value, _Answered, from_attributes=True)
        except msgspec.ValidationError as error:
            raise Refused(
                f"{self._name}: returned {type(value).__name__}, which is no answer ({error}). Return a text, or a "
                f"mapping with text and any of: {', '.join(_Answered.__struct_fields__[1:])}."
            ) from None
        if said.prompt_tokens is None or said.completion_tokens is None:
            return said, None
        return said, Usage(prompt_tokens=said.prompt_tokens, completion_tokens=said.completion_tokens)


class _Leash:
    """Waits for a call that may refuse to end: an `except:` of its own takes cancellations, too.

    The call gets the cancellation first; if it still goes on `GRACE_S` later, it is left where it stands. A task of its
    own would not do: the loop waits for all tasks when it is closed.
    """

    def __init__(self, call: Awaitable[Any]) -> None:
        self._call = call
        self._pulled = False

    def __await__(self) -> Generator[Any, Any, Any]:
        """Pass everything on, in both directions, until the call has ended or is left."""
        call, task = self._call.__await__(), asyncio.current_task()
        assert task is not None
        timer: asyncio.TimerHandle | None = None
        error: BaseException | None = None
        try:
            while True:
                waited = next(call) if error is None else call.throw(error)
                error = None
                try:
                    yield waited
                except BaseException as come:
                    if self._pulled:
                        task.uncancel()
                        ctypes.pythonapi.Py_IncRef(ctypes.py_object(call))  # freed, it would be closed, and go on
                        raise
                    if timer is None and task.cancelling():
                        timer = asyncio.get_running_loop().call_later(GRACE_S, self._pull, task)
                    error = come
        except StopIteration as ended:
            return ended.value
        finally:
            if timer is not None:
                timer.cancel()

    def _pull(self, task: asyncio.Task[Any]) -> None:
        self._pulled = True
        task.cancel()


def _is_cancelled() -> bool:
    """Whether it is our own call that is given up."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _whole_characters(text: str) -> str:
    """The text with half surrogate pairs marked as unreadable, as servers send them: no file can hold them."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def function(*, function: str, timeout_s: float = 300.0) -> Function:
    """Your own async function: called with each request, it returns the answer.

    Args:
        function: the function, as my_module:answer (looked for in the working folder too) or path/to/file.py:answer.
        timeout_s: seconds that one call may take.

    Raises:
        ConfigError: there is no such function, its file cannot be imported, or it is not async.
    """
    place, colon, name = function.rpartition(":")
    if not colon or not place or not name:
        raise ConfigError(
            f"function: '{function}' names no function. Write my_module:answer or path/to/file.py:answer."
        )
    found = getattr(_module(place), name, None)
    if not callable(found):
        raise ConfigError(f"function: {place} has no function '{name}'. Check the name behind the colon.")
    return Function(found, name=function, timeout_s=timeout_s)


def _module(place: str) -> ModuleType:
    path = Path(place).expanduser()
    if place.endswith(".py") and not path.is_file():
        raise ConfigError(f"function: {place}: no such file. Check the path (working folder: {Path.cwd()}).")
    try:
        return _from_file(path) if place.endswith(".py") else _from_name(place)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"function: {place}: {error}. Check the name (working folder: {Path.cwd()}), or install what it imports."
        ) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - importing runs the user's code
        raise ConfigError(f"function: {place}: cannot be imported: {_told(error, None)}") from None


def _from_name(name: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _told(error: BaseException, answer: Any) -> str:
    """Type, message and the last line of the user's own file that led to it, as one line."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    code = getattr(inspect.unwrap(answer), "__code__", None) if answer else None
    own = [frame for frame in frames if code and frame.filename == code.co_filename] or [
        frame for frame in frames if "importlib" not in frame.filename
    ]
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    message = "".join(c if c.isprintable() else " " for c in str(error))[:DETAIL_CHARS]
    return f"{type(error).__name__}{': ' if message else ''}{message}{where}."


def _plain(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]
