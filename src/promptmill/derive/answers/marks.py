r"""Marks around an answer, taken off: markdown, dollar signs, TeX wrappers, quotes, a full stop.

`narrow` moves two places inwards and never copies; `tidy` makes the answer of what stands between them: `\text{...}`
and TeX blanks go where nothing else of TeX would be left, so that `17\text{th January }1974` reads as prose, while
`\frac{1}{2} \text{ cm}` stays as it is for whoever compares maths.
"""

from __future__ import annotations

import re

from promptmill.derive.answers.page import Page, Piece, folded

_PAIRS = (  # the longest of a kind first
    *((mark, mark) for mark in ("***", "**", "__", "*", "_", "```", "`", "$$", "$", '"', "'", "~~")),
    *(("\\[", "\\]"), ("\\(", "\\)"), ("\\\\[", "\\\\]"), ("\\\\(", "\\\\)")),
    *((f"<{tag}>", f"</{tag}>") for tag in ("b", "strong", "i", "em", "code", "p")),
)
_FIRST = frozenset(opening[0] for opening, _ in _PAIRS)
_LEFT = re.compile(
    r"(?:\s|\\(?:displaystyle|textstyle|quad|qquad|[,;:! ])|[:>|](?=\s)|(?:=>|⇒|→|∴)\s?|=\s?(?=[-+\d$\\])|\*\*|#+ )+"
)
_RIGHT = ("\\,", "\\;", "\\!", "\\:", "\\quad", "\\\\", "\\ ", "<br>", "<br/>", "</answer>", "**")
_WRAP = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|texttt|textsf|bf|rm|mbox|hbox)\s?\{")
_UNWRAPPED = re.compile(
    r"\\(?:(?:text|textbf|textit|textrm|mbox|hbox)\s?\{([^{}\\]{0,300})|math(?:rm|bf|it)\s?\{([A-Za-z ]{2,300}))\}"
)
_WORD = re.compile(r"(?<!\\)\b[^\W\d_]{2,}")
_SPACES = re.compile(r"\\[,;:]|\\quad\b|~")
_LAST_WORDS = re.compile(
    r"(?:\b(?:[A-Z]\.){2,}|\b(?:Jr|Sr|Inc|Ltd|Co|Corp|Bros|etc|Esq|Ph\.D|M\.D|[ap]\.m)\.|\b[A-Z][a-z]+ [A-Z]\.)$"
)
_ROUNDS = 12
SIGNS = frozenset(("<", ">", "=", "+", "-", "<=", ">=", "!=", "==", "/", "*"))
"""Answers that are a sign and nothing else."""
_BLANK_ANSWER = re.compile(r"(?:\\(?:boxed|fbox|text)(?![A-Za-z])|[\s._…\-?*~$\\,;:!()\[\]{}'\"`=|<>/#+–—])*")
_BRACKETS = re.compile(r"\s*[\])}>](?:\s?[\])}>])+[\s.]*")  # the answer of a task that asks to close them
_PLACEHOLDER = re.compile(
    r"[\s\[({<*_`\"'$]*(?:"
    r"(?:your|the|my|insert|put|place|write|enter|add|fill|provide|final|correct|numerical|numeric|short|actual|exact)"
    r"[\s_-](?:[a-z]+[\s_-]){0,3}?(?:answer|result|letter|option|choice|solution|value|number|response)"
    r"(?:\s(?:here|goes here|only|in here|letter|choice|option|value|number))?"
    r"|answer(?:[\s_-]here)?|letter|result|option|choice|solution|placeholder|final_answer"
    r"|(?:tags?|and|tag\s*pair|format|blocks?|in|or|with)\b(?:\s(?-i:[^\nA-Z\d])[^\n]*)?"
    r"|todo|tbd|X{2,}|\\?(?:ldots|dots|cdots)|letter of [^\n]{0,60}|[A-Z](?:\s?[/|]\s?[A-Z]){2,}"
    r")[\s\])}>*_`\"'.$:]*",
    re.IGNORECASE,
)


def is_blank(text: str) -> bool:
    """Whether nothing is said: empty, dots, underscores, a question mark."""
    return _BLANK_ANSWER.fullmatch(text) is not None and not _BRACKETS.fullmatch(text)


def is_placeholder(text: str) -> bool:
    """Whether a text stands for an answer that somebody is to write: `...`, `your answer`, `tags.`."""
    short = text[:200].strip()
    return not short.strip(" .…_?\n\t-") or (len(short) < 100 and _PLACEHOLDER.fullmatch(short) is not None)


def narrow(clear: str, start: int, end: int) -> tuple[int, int]:
    """Move both ends inwards over the marks around what stands between them."""
    for _ in range(_ROUNDS):
        before = (start, end)
        start, end = _blanks(clear, start, end)
        start, end = _pairs(clear, start, end)
        start, end = _halves(clear, start, end)
        start, end = _stop(clear, start, end)
        if (start, end) == before:
            break
    return start, end


def tidy(text: str) -> str:
    r"""The answer that stands in a text: prose out of `\text{...}`, digits in one script, blanks and lines joined."""
    text = folded(text)
    if "\\" in text:
        plain = text
        for _ in range(3):
            plain, changed = _UNWRAPPED.subn(lambda m: m[1] if m[1] is not None else m[2], plain)
            if not changed:
                break
        plain = plain.replace("\\ ", " ").replace("\\&", "&")
        if _WORD.search(plain):
            plain = _SPACES.sub(" ", plain)
        plain = re.sub(r" {2,}", " ", plain).strip()
        text = plain if not re.search(r"[\\{}^_]", plain) else text
    return text.strip()


def piece(page: Page, start: int, end: int, rule: str) -> Piece | None:
    """What stands between two places, without the marks around it; None when nothing does."""
    start, end = narrow(page.clear, start, end)
    text = tidy(page.text[start:end])
    return None if start >= end or (is_blank(text) and text not in SIGNS) else Piece(text, start, end, rule)


def _blanks(clear: str, start: int, end: int) -> tuple[int, int]:
    if (left := _LEFT.match(clear, start, end)) and left.end() - left.start() > 0:
        opened = clear.startswith("**", left.end() - 2, end) and left.end() - 2 >= start
        if not opened or clear.find("**", left.end(), end) < 0:
            start = left.end()
        elif clear[start].isspace():
            start += len(clear[start:end]) - len(clear[start:end].lstrip())
    while end > start and clear[end - 1].isspace():
        end -= 1
    return start, end


def _pairs(clear: str, start: int, end: int) -> tuple[int, int]:
    if start >= end or (clear[start] not in _FIRST and clear[start] not in "\\{"):
        return start, end
    for opening, closing in _PAIRS:
        if clear.startswith(opening, start) and clear.startswith(closing, end - len(closing)):
            inner, outer = start + len(opening), end - len(closing)
            if inner <= outer and not _again(clear, closing, inner, outer):
                return inner, outer
    if (wrap := _WRAP.match(clear, start, end)) and closing_brace(clear, wrap.end(), end) == end - 1:
        return wrap.end(), end - 1
    return start, end


def _again(clear: str, mark: str, start: int, end: int) -> bool:
    r"""Whether a mark stands between two places; a dollar sign that is written `\$` is none."""
    at = clear.find(mark, start, end)
    while at > 0 and mark == "$" and clear[at - 1] == "\\":
        at = clear.find(mark, at + 1, end)
    return at >= 0


def _halves(clear: str, start: int, end: int) -> tuple[int, int]:
    """Half a pair, left over where a sentence was cut out of its marks."""
    for mark in _RIGHT:
        if (
            end - len(mark) > start
            and clear.endswith(mark, start, end)
            and clear.find(mark, start, end - len(mark)) < 0
        ):
            return start, end - len(mark)
    if start < end and clear[end - 1] in "\"'`*" and clear.find(clear[end - 1], start, end - 1) < 0:
        apostrophe = clear[end - 1] == "'" and clear[end - 2 : end - 1].isalnum()
        return start, end - (0 if apostrophe else 1)
    if start < end and clear[start] in '"`*_' and clear.find(clear[start], start + 1, end) < 0:
        return start + 1, end
    if end - start > 1 and clear.count("$", start, end) == 1:
        if clear[start] == "$" and not clear[start + 1].isdigit() and clear[start + 1] not in ".-":
            return start + 1, end
        if clear[end - 1] == "$" and not clear[end - 2].isdigit():
            return start, end - 1
    return start, end


def _stop(clear: str, start: int, end: int) -> tuple[int, int]:
    """A full stop or comma at the end, unless it belongs to the last word."""
    if start < end and clear[end - 1] in ".,;:。、।۔":
        if clear[end - 1] == "." and _LAST_WORDS.search(clear, max(start, end - 40), end):
            return start, end
        if clear[end - 2 : end - 1] == "\\" or clear.endswith("...", start, end):
            return start, end
        return start, end - 1
    if end - start > 1 and clear[end - 1] == "!" and clear[end - 2].isalpha():
        return start, end - 1
    return start, end


def closing_brace(clear: str, start: int, end: int) -> int | None:
    r"""Where the group that opened just before `start` is closed; braces written `\{` do not count."""
    depth = 1
    for brace in _BRACE.finditer(clear, start, end):
        if brace[0] == "{":
            depth += 1
        elif brace[0] == "}":
            depth -= 1
            if not depth:
                return brace.start()
    return None


_BRACE = re.compile(r"\\[\\{}]|[{}]")
