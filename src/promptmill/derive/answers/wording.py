r"""Texts made comparable: marks, case, articles and the spellings of TeX aside.

`normalised` is for telling whether a response repeats the text of an option, not for judging an answer: it keeps every
letter, digit and sign that could make two options differ.
"""

from __future__ import annotations

import re
import unicodedata

_WRAPS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|displaystyle|left|right|quad|[,;:! ])")
_FRACTION = re.compile(r"\\[dt]?frac\s?\{([^{}]{1,40})\}\s?\{([^{}]{1,40})\}")
_SHORT_FRACTION = re.compile(r"\\[dt]?frac\s?(\d)\s?(\d)")
_DROPPED = re.compile(r"[$*`\"“”„«»{}~]|\\(?=[%$&#_ {}])|\\$")
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u2010\u2011](?=[^\W\d_])")
_ARTICLE = re.compile(r"^(?:the|an|a)\s+(?=\S{2})")
_PUNCTUATION = re.compile(r"(?<![\d])[.,;:!?]+(?=\s|$)|[.,;:!?]+(?=\s*$)|(?<=\d)[.,;:!?](?=\s)|['’]")
_AROUND_SIGNS = re.compile(r"\s*([=+<>])\s*")
_UNIT = re.compile(r"(?<=\d)(?=(?:[kcm]?m|[kmg]?g|[kmg]?hz|[km]?l|[km]?[njwv]|mol|min|s|h|h|ft|in|mph|k?pa|k?cal)\b)")
_MINUS = re.compile(r"(?<=[\d)}\]]) - (?=[\w(\\])")
_COMMAS = re.compile(r",(?=\S)")
_BLANKS = re.compile(r"\s+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def normalised(text: str) -> str:
    """The text in lower case without marks around and within words, as one line."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if "\\" in text:
        text = _SHORT_FRACTION.sub(r"\1/\2", _FRACTION.sub(r"\1/\2", text))
        text = _WRAPS.sub(" ", text)
    text = _DROPPED.sub("", text.lower())
    if (text and text[-1:] in " .,;:!?") or any(mark in text for mark in ",.;:!?'"):
        text = _COMMAS.sub(", ", _THOUSANDS.sub("", text))
        text = _PUNCTUATION.sub("", text)
    text = _AROUND_SIGNS.sub(r"\1", text) if "=" in text else text
    text = text.replace("√", "\\sqrt").replace(" percent", "%") if "√" in text or " percent" in text else text
    text = _UNIT.sub(" ", text) if any(c.isdigit() for c in text) else text
    text = _MINUS.sub("-", text) if " - " in text else text
    text = _BLANKS.sub(" ", _HYPHEN.sub(" ", text)).strip()
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1 and "," not in text:
        text = text[1:-1].strip()
    return _ARTICLE.sub("", text)
