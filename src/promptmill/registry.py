"""Tables of what users can name in a recipe, and the types of what the names stand for.

An entry is `"name": "module:function"`. The function's keyword-only parameters ARE the options of the recipe: their
names, types, defaults and `Args:` lines serve YAML, flags, `--help` and the reference page. Plug-ins add entries
through the entry-point group `promptmill.<table>` in the same form. Nothing is imported until it is used.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_type_hints, runtime_checkable

import msgspec

from promptmill.errors import ConfigError
from promptmill.records import Answer, Completion, Message, Prompt, Reference, Request, Verdict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Source = Callable[..., Iterator[Prompt]]
Filter = Callable[[Prompt], str | None]
Format = Callable[[Path, Iterable[msgspec.Struct]], int]
Extractor = Callable[[str, Reference], Answer | None]
Counts = dict[str, int]


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A prompt of which only id, source and meta are decoded; the rest is, when it is asked for.

    Of a million conversations a sample keeps one in a hundred: what is dropped by its language or its hash need not be
    made into messages. A step that is content with heads has the attribute `by_head = True`; every other step is given
    whole prompts, and so is whoever reads the selection.
    """

    id: str
    source: str
    meta: dict[str, Any]
    line: bytes
    decode: Callable[[bytes, str], Prompt]

    def whole(self) -> Prompt:
        """The prompt itself."""
        return self.decode(self.line, self.source)

    @property
    def messages(self) -> tuple[Message, ...] | None:
        """As in `Prompt`."""
        return self.whole().messages

    @property
    def text(self) -> str | None:
        """As in `Prompt`."""
        return self.whole().text


@runtime_checkable
class HasHeads(Protocol):
    """A source that can give heads instead of whole prompts."""

    def heads(self) -> Iterator[Head | Prompt]:
        """The same prompts from the beginning; whole ones where a head is no less work."""
        ...


@runtime_checkable
class Expand(Protocol):
    """A selection step that turns one prompt into none, one or several."""

    def expand(self, prompt: Prompt) -> list[Prompt] | str:
        """Return the prompts to go on with, or the reason why there is none."""
        ...


@runtime_checkable
class Look(Protocol):
    """A selection step that must see every prompt before it can judge one."""

    def begin(self, work: Path) -> None:
        """Forget what was seen before; `work` is a folder for what does not fit in memory."""
        ...

    def observe(self, prompt: Prompt) -> str | None:
        """Take note of one prompt; a reason drops it already."""
        ...

    def filter(self) -> Filter:
        """After all were seen: the filter, called once for each prompt in the order they were observed."""
        ...


class Encoder(Protocol):
    """Texts to vectors; any object with this method will do."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one row per text, shape (len(texts), width)."""
        ...


class Metric(Protocol):
    """Judges answers; called from several threads at a time."""

    def __call__(self, reference: Reference, answer: str) -> Verdict:
        """Say how right an answer is. Never raise for what a model wrote: what cannot be graded has no value."""
        ...


@runtime_checkable
class HasClose(Protocol):
    """A metric that holds processes."""

    def close(self) -> None:
        """End them."""
        ...


class Endpoint(Protocol):
    """One server behind one protocol."""

    async def complete(self, request: Request) -> Completion:
        """Ask once. Raise an `EndpointError`; never return error text as an answer."""
        ...

    async def check(self, model: str) -> None:
        """Raise one clear error if the server does not answer or does not serve `model`."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


@runtime_checkable
class HasChoices(Protocol):
    """An endpoint whose server may return several answers to one request (`n`)."""

    async def complete_many(self, requests: Sequence[Request]) -> list[Completion]:
        """Ask once for several samples of one prompt.

        Args:
            requests: they differ in nothing but `sample`.

        Returns:
            The answers to the first of them, one at least; fewer than asked where the server gives fewer.

        Raises:
            EndpointError: as `complete`; `Refused` also where the server knows one answer to a request and no more.
        """
        ...


@runtime_checkable
class HasContext(Protocol):
    """An endpoint whose server tells the size of the model's context."""

    async def context_tokens(self, model: str) -> int | None:
        """How many tokens prompt and answer may have together; None where the server does not tell."""
        ...


class Engine(Protocol):
    """Where shards run."""

    def map(self, fn: Callable[[Any], Counts], shards: Sequence[Any]) -> Iterator[Counts]:
        """Call `fn` on every shard; `fn` and shards pickle, and `fn` writes its own part."""
        ...


TABLES: dict[str, dict[str, str]] = {
    "sources": {
        "chats": "promptmill.sources.chats:chats",
        "commonsense_qa": "promptmill.sources.benchmarks:commonsense_qa",
        "gsm8k": "promptmill.sources.benchmarks:gsm8k",
        "hub": "promptmill.sources.hub:hub",
        "hub_problems": "promptmill.sources.hub:hub_problems",
        "nq_open": "promptmill.sources.benchmarks:nq_open",
        "problems": "promptmill.sources.problems:problems",
        "prompts": "promptmill.sources.files:prompts",
    },
    "filters": {
        "dedup": "promptmill.select.dedup:dedup",
        "language": "promptmill.select.language:language",
        "outliers": "promptmill.select.outliers:outliers",
        "sample": "promptmill.select.sample:sample",
        "turns": "promptmill.select.turns:turns",
    },
    "endpoints": {
        "function": "promptmill.endpoints.function:function",
        "llamacpp": "promptmill.endpoints.llamacpp:llamacpp",
        "openai": "promptmill.endpoints.openai:openai",
        "tgi": "promptmill.endpoints.tgi:tgi",
    },
    "servers": {
        "llama.cpp": "promptmill.endpoints.programs:llama_cpp",
        "transformers": "promptmill.endpoints.programs:transformers",
        "vllm": "promptmill.endpoints.programs:vllm",
    },
    "extractors": {
        "answer": "promptmill.derive.answers:answer",
        "code": "promptmill.derive.programs:code",
    },
    "metrics": {
        "auto": "promptmill.evaluate.choose:auto",
        "cem": "promptmill.evaluate.text:cem",
        "code": "promptmill.evaluate.code:code",
        "em_mc": "promptmill.evaluate.text:em_mc",
        "exact": "promptmill.evaluate.text:exact",
        "f1": "promptmill.evaluate.text:f1",
        "gsm8k": "promptmill.evaluate.numbers:gsm8k",
        "judge": "promptmill.evaluate.judge:judge",
        "math": "promptmill.evaluate.math:math",
        "numeric": "promptmill.evaluate.numbers:numeric",
    },
    "encoders": {
        "transformers": "promptmill.encode:transformers",
    },
    "engines": {
        "local": "promptmill.engines:local",
    },
}


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option of a recipe.

    Attributes:
        name: YAML key.
        type: its Python type.
        default: its default; `msgspec.NODEFAULT` when it must be given.
        help: one line for people.
    """

    name: str
    type: Any
    default: Any
    help: str


def names(table: str) -> dict[str, str]:
    """All entries of a table, plug-ins included, sorted by name."""
    plugins = {e.name: e.value for e in entry_points(group=f"promptmill.{table}")}
    return dict(sorted({**plugins, **TABLES[table]}.items()))


def load(table: str, name: str) -> Callable[..., Any]:
    """Import the function behind a name.

    Raises:
        ConfigError: no such name; lists what is there.
    """
    entries = names(table)
    if name not in entries:
        raise ConfigError(f"{table}: no '{name}'.{did_you_mean(name, entries)} There are: {', '.join(entries)}")
    module, _, attribute = entries[name].partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def build(table: str, use: dict[str, Any], **given: Any) -> Any:
    """Call the function that `use["kind"]` names with the other keys of `use` as its options."""
    options = {key: value for key, value in use.items() if key != "kind"}
    return load(table, use["kind"])(**options, **given)


def options(function: Callable[..., Any]) -> list[Option]:
    """The options of a table entry: its keyword-only parameters that are not prefixed by `_`."""
    hints = get_type_hints(function, include_extras=True)
    texts = help_lines(function)
    return [
        Option(
            name=p.name,
            type=hints[p.name],
            default=_as_yaml(p.default),
            help=texts.get(p.name, ""),
        )
        for p in inspect.signature(function).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and not p.name.startswith("_")
    ]


def _as_yaml(default: Any) -> Any:
    """A default as a recipe would hold it: YAML knows lists, not tuples, and the two are not equal."""
    if default is inspect.Parameter.empty:
        return msgspec.NODEFAULT
    return list(default) if isinstance(default, tuple) else default


def help_lines(documented: Any) -> dict[str, str]:
    """The `name: text` lines of an `Args:` or `Attributes:` section of a docstring (Google style)."""
    text = inspect.cleandoc(documented.__doc__ or "")
    section = re.search(r"^(?:Args|Attributes):\n((?:(?: {4}.*)?\n?)+)", text, re.MULTILINE)
    if not section:
        return {}
    found = re.findall(r"^ {4}(\w+): ((?:.|\n {5,})+)", section[1], re.MULTILINE)
    return {name: re.sub(r"\s+", " ", line).strip() for name, line in found}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
