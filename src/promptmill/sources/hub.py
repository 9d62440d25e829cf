"""Data sets of the Hugging Face Hub, or of a local folder in its layout, through the library `datasets`.

Rows are streamed, so nothing is downloaded that is not read. A row with turns is read like `chats`, any other like
`prompts`. The token of a gated data set (lmsys/lmsys-chat-1m) is taken from the environment variable HF_TOKEN by
`datasets` itself; promptmill never sees it.

Not covered: pushing to the Hub, images and audio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from promptmill.errors import ConfigError, DataError, MissingExtra
from promptmill.records import Prompt
from promptmill.registry import did_you_mean
from promptmill.sources.chats import TURNS, ChatRows
from promptmill.sources.files import TextRows
from promptmill.sources.problems import COLUMNS, ProblemRows, some
from promptmill.sources.rows import BadRow

Loader = Callable[..., Iterable[dict[str, Any]]]

_COLUMNS = ("messages", "text", "id", "language", "model")


def hub(
    *,
    dataset: str,
    split: str = "train",
    config: str | None = None,
    revision: str | None = None,
    columns: Mapping[str, str] | None = None,
    meta: Sequence[str] = (),
    streaming: bool = True,
    _load: Loader | None = None,
) -> Iterator[Prompt]:
    """Read conversations or prompts from a Hugging Face data set (extra 'hub'; gated ones need HF_TOKEN).

    Args:
        dataset: name on the Hub like 'lmsys/lmsys-chat-1m', or a local folder.
        split: the part of the data set.
        config: the configuration, where the data set has several.
        revision: a commit or tag of the data set; name one to get the same rows next year.
        columns: which columns to read, like {messages: conversation, id: conversation_id}; keys messages, text, id,
            language, model.
        meta: further columns to keep with each prompt.
        streaming: read while downloading; otherwise download the whole split first.

    Raises:
        ConfigError: no such data set, configuration, split or option; gated and no token; offline.
        DataError: a row cannot be read.
        MissingExtra: the library `datasets` is not installed.
    """
    named = _named(columns, _COLUMNS)
    load = _loading(_load, dataset, config, split=split, revision=revision, streaming=streaming)
    return _rows(f"{dataset}:{split}", named, meta, load)


def hub_problems(
    *,
    dataset: str,
    split: str = "test",
    config: str | None = None,
    revision: str | None = None,
    columns: Mapping[str, str] | None = None,
    n: int | Literal["all"] = "all",
    contradictions: Literal["error", "drop"] = "error",
    streaming: bool = True,
    _load: Loader | None = None,
) -> Iterator[Prompt]:
    """Read problems with reference answers from a Hugging Face data set (extra 'hub'; gated ones need HF_TOKEN).

    Args:
        dataset: name on the Hub like 'openai/openai_humaneval', or a local folder.
        split: the part of the data set.
        config: the configuration, where the data set has several.
        revision: a commit or tag of the data set; name one to get the same rows next year.
        columns: which columns to read under which name, like {question: problem, answer_correct: solution}.
        n: how many problems to take from the beginning, or all.
        contradictions: what becomes of a row that contradicts itself, such as a letter and an index that disagree.
        streaming: read while downloading; otherwise download the whole split first.

    Raises:
        ConfigError: no such data set, configuration, split or option; gated and no token; offline.
        DataError: a row cannot be read, contradicts itself, or its id stood before.
        MissingExtra: the library `datasets` is not installed.
    """
    named = _named(columns, COLUMNS)
    load = _loading(_load, dataset, config, split=split, revision=revision, streaming=streaming)
    reader = ProblemRows(drop=contradictions == "drop")
    return some(_problem_rows(f"{dataset}:{split}", named, reader, load), n, reader)


def _named(columns: Mapping[str, str] | None, known: Sequence[str]) -> dict[str, str]:
    """The option `columns`, its keys checked."""
    named = dict(columns or {})
    for name in named:
        if name not in known:
            raise ConfigError(f"columns: no '{name}'.{did_you_mean(name, known)} There are: {', '.join(known)}")
    return named


def _loading(given: Loader | None, *where: str | None, **how: Any) -> Callable[[], Iterable[dict[str, Any]]]:
    """What opens the data set; the library is looked for at once, the data set when its rows are wanted."""
    load = given or _datasets()
    return lambda: load(*where, **how)


def _problem_rows(
    name: str, named: dict[str, str], reader: ProblemRows, load: Callable[[], Iterable[dict[str, Any]]]
) -> Iterator[Prompt]:
    number = 0
    for row in _guarded(name, load):
        number += 1
        found = {column: row[column] for column in COLUMNS if column in row}
        for wanted, column in named.items():
            if column not in row:
                raise DataError(f"{name}:{number}: no column '{column}'. There are: {', '.join(row)}. Mend columns.")
            found[wanted] = row[column]
        try:
            yield reader.read(msgspec.json.encode(found), f"{name}:{number}")
        except BadRow as error:
            raise DataError(f"{name}:{number}: {error}") from error
    if number == 0:
        raise DataError(f"{name}: no rows. Check the split.")


def _rows(
    name: str, named: dict[str, str], meta: Sequence[str], load: Callable[[], Iterable[dict[str, Any]]]
) -> Iterator[Prompt]:
    number = 0
    reader: ChatRows | TextRows | None = None
    for row in _guarded(name, load):
        number += 1
        reader = reader or _reader(row, named, meta)
        # The other columns go as null: their names are for the complaint, their values may be images.
        wanted = {name: row[name] if name in reader.columns else None for name in row}
        try:
            yield reader.read(msgspec.json.encode(wanted), f"{name}:{number}")
        except BadRow as error:
            raise DataError(f"{name}:{number}: {error}") from error
    if number == 0:
        raise DataError(f"{name}: no rows. Check the split.")


def _reader(row: dict[str, Any], named: dict[str, str], meta: Sequence[str]) -> ChatRows | TextRows:
    """A data set has one schema, so its first row tells whether it holds conversations."""
    common: dict[str, Any] = {"id": named.get("id"), "language": named.get("language"), "meta": meta}
    if "text" in named or ("messages" not in named and not any(name in row for name in TURNS)):
        return TextRows(text=named.get("text"), **common)
    return ChatRows(messages=named.get("messages"), model=named.get("model"), **common)


def _guarded(name: str, load: Callable[[], Iterable[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """The rows, with the library's many errors said in one line."""
    try:
        yield from load()
    except (OSError, ValueError, RuntimeError) as error:
        # `datasets` and its HTTP client raise subclasses of these: not found, gated, offline, unknown split.
        text = " ".join(str(error).split())
        if "gated" in text.lower() or "401" in text or "403" in text:
            raise ConfigError(
                f"{name}: this data set is gated. Accept its terms on https://huggingface.co/datasets/"
                f"{name.rpartition(':')[0]} and set the environment variable HF_TOKEN."
            ) from error
        if "offline" in text.lower() or "reach" in text.lower() or isinstance(error, ConnectionError):
            raise ConfigError(
                f"{name}: the Hub cannot be reached ({text[:200]}). Go online, or name a folder."
            ) from error
        raise ConfigError(f"{name}: {text[:300]}. Check dataset, config, split and revision.") from error


def _datasets() -> Loader:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("hub", needed_for="source hub") from error
    load: Loader = datasets.load_dataset
    return load
