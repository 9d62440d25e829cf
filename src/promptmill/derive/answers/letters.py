r"""Options named without an announcement: by a letter that stands alone, or by the text of one option.

A response that begins with a letter ("C) 5, because ...") or ends with one ("**C**"), where no other option is listed;
a response that is the text of one option; a last line in bold, or a concluding sentence, that holds one.

Not covered: sentences about options. "Option B is a possibility" chooses nothing.
"""

from __future__ import annotations

import re

from promptmill.derive.answers import lines, marks
from promptmill.derive.answers.choices import LETTERS, Options, Picked
from promptmill.derive.answers.page import Page, Piece
from promptmill.derive.answers.wording import normalised

_LISTED = re.compile(
    r"\n[ \t]{0,4}(?:[-*+•][ \t]{1,3})?(?:[*_]{0,3}\(?|(?:[*_]{0,3})(?:option|choice|"
    r"answer)[ \t])([A-Za-z])[*_]{0,3}(?:[).:]|[ \t]-)[*_]{0,3}[ \t]",
    re.IGNORECASE,
)
_FIRST_LETTER = re.compile(
    r"\s*(?:[*_\"'`$(\[<✅✔ ]|\\text\{|\\boxed\{){0,6}"
    r"(?:(?i:option|choice|answer|letter)\s{0,2}[(*]{0,3})?([A-Za-zⒶ-Ⓗ①-⑩])"
    r"(?:[)\]*_\"'`$}>.:,;!]{1,6}(?=\s|$)|\s{0,3}(?:$|\n)|\s[-–—]\s|[-–—]{2}|\s?[✓✔✅👍]|\s(?=(?:because|since)\b))"
)
_CLOSE = re.compile(r"\s*[(*]{0,3}([A-Z])[).:](?=\S)")  # "C.forest"
_ABOUT = re.compile(
    r"(?:is|was|would be|could be|might be|may be|seems|says|and|or|refers|describes|"
    r"states)\b(?!\s(?:the\s)?(?:correct|right|best))"
)
_PAUSE = re.compile(r"[*_\"'`]{0,3}(?:[.,;:!](?=\s|[*\"]|$)|\s[-–—]\s|—|\s(?:because|since)\b)")
_LETTER_AND_MARKS = re.compile(r"^[\s(*_\"'`$]*(?:option\s)?[A-Za-z][)*_.:\"'`\s-]*", re.IGNORECASE)


_AGAIN = re.compile(r"\s*([A-Z])(?:[\s,.]+\1){1,400}[\s.]*")
_NUMBERS = re.compile(r"(?:\A|\n)[ \t]{0,4}[*_]{0,2}1[.)][^\n]*\n+[ \t]{0,4}[*_]{0,2}2[.)]\s")
_REVISED = re.compile(r"\b(?:wait[,.!—]|actually,|scratch that|on second thought|correction:|no, )")


def letter(page: Page, start: int, end: int, options: Options) -> Picked:
    """The letter at the beginning or the end of a response in which no other option is listed."""
    last = lines.last(page.clear, start, end)
    if last is None:
        return None
    until = min(end, start + 20000)
    if again := _AGAIN.fullmatch(page.clear, start, end):  # "D D D D"
        return options.pick(page, again.start(1), again.end(1), "letter")
    at_start = _LISTED.match("\n" + page.clear[start : min(until, start + 40)])
    listed = {m[1].upper() for m in (at_start, *_LISTED.finditer(page.clear, start, until)) if m}
    first = _line_letter(page, start, lines.first_end(page.clear, start, end), options)
    found = _line_letter(page, *last, options) if last[0] > start else None
    alone = found is not None and _is_lone(page.clear, *last)
    others = listed - {first.text} if first is not None else listed
    if first is not None and _REVISED.search(page.lower, first.end, end):
        return None
    if first is not None and (not others or min(others) < first.text):  # a list of options begins with the first
        contradicted = alone and found is not None and found.text != first.text
        return first._replace(unclear=True) if contradicted else first
    if found is None or alone:
        return found
    told = not (listed - {found.text}) and _is_option(page.clear[last[0] : last[1]], found.text, options)
    return found if told else None


def _is_option(line: str, letter: str, options: Options) -> bool:
    """Whether a line holds a letter and the text of its option and hardly more."""
    own = options.plain[LETTERS.index(letter)]
    behind = normalised(_LETTER_AND_MARKS.sub("", line))
    return behind == own or (bool(own) and behind.startswith(own) and len(behind) < len(own) + 12)


def _is_lone(clear: str, line: int, line_end: int) -> bool:
    """Whether a line holds a letter and its marks only."""
    said = re.sub(
        r"[\s*_\"'`$()\[\]{}.:,;!\\]|text|boxed|option|choice|answer",
        "",
        clear[line : min(line_end, line + 80)].lower(),
    )
    return len(said) <= 1 and line_end - line < 80


def _line_letter(page: Page, line: int, line_end: int, options: Options) -> Picked:
    """The letter that a line begins with, if it stands for an option."""
    match = _FIRST_LETTER.match(page.clear, line, line_end)
    if match and ord(match[1]) > 127:
        return options.pick(page, line, line_end, "letter")
    if match is None and (close := _CLOSE.match(page.clear, line, line_end)):
        index, rest = ord(close[1]) - 65, normalised(page.clear[close.end() : line_end])
        match = close if index < len(options.plain) and options.plain[index] and rest == options.plain[index] else None
    if match is None or ord(match[1].upper()) - 65 >= len(options.texts):
        listed = _NUMBERS.match(page.clear, line, min(len(page.clear), line_end + 200))
        numbered = None if listed else options.by_number(page, line, line_end, "letter")
        lone = numbered is not None and not re.search(r"[^\W\d_]{2}", page.clear[numbered.end : line_end])
        return None if lone and page.clear.strip() != page.clear[line:line_end].strip() else numbered  # "3." of a list
    if match[1] == "A" and page.clear.startswith(":", match.end(1)):  # perhaps the label of an answer
        return options.by_text(page, match.end(), line_end, "whole")
    if _is_told_of(page, match, line_end, options):
        return None
    picked = options.pick(page, line, max(line_end, match.end()), "letter")
    if picked is None or picked.unclear:
        return None
    by_letter = picked.text == match[1].upper() and ":" not in picked.rule
    return picked if by_letter else Piece(match[1].upper(), match.start(1), match.end(1), "letter")


def _is_told_of(page: Page, match: re.Match[str], line_end: int, options: Options) -> bool:
    """Whether the rest of a line makes its letter something else than a choice."""
    rest = page.clear[match.end() : line_end].strip()
    own = options.texts[ord(match[1].upper()) - 65]
    at = rest.lower().find(own.lower())
    about = rest[len(own) + at :] if 0 <= at < 4 else rest
    if _ABOUT.match(about.lstrip(" ,.\"'*")):
        return True
    if match[1] == "A" and re.search(r"(?<!\w)\(?B\)", rest):
        return True  # the options, one after another
    if match[1].islower() and rest and not rest.lower().startswith(own.lower()[:20]) and match[0][-1] not in ").":
        return True
    for other in re.finditer(r"(?<!\w)\(?([A-Za-z])\)\s", rest):
        own = options.plain[ord(other[1].upper()) - 65] if ord(other[1].upper()) - 65 < len(options.plain) else ""
        if own and other[1].upper() != match[1].upper() and normalised(rest[other.end() :]).startswith(own):
            return True  # a list of options on one line
    comma = page.clear.startswith(",", match.end(1)) and match[1] in "AI"
    return comma and options.by_text(page, match.end(), line_end, "") is None


def option_text(page: Page, start: int, end: int, options: Options) -> Picked:
    """A response that is the text of one option, or whose last line is, or whose conclusion holds one."""
    last = lines.last(page.clear, start, end)
    if last is None:
        return None
    whole: Picked = None
    if lines.first_end(page.clear, start, end) >= last[1] and last[1] - start < 400:
        whole = options.whole(page, *marks.narrow(page.clear, start, end), "whole")
        words = page.clear[start:end].split()
        if whole is None and len(words) == 1 and len(words[0]) > 3:
            whole = options.by_text(page, start, end, "whole")  # "Einstein"
    if whole is None:
        whole = _leading_text(page, start, end, options)
    bold = lines.lone_bold(page, *last, alone=lines.HEDGE.search(page.lower, *last) is not None)
    if whole is None and bold is not None:
        whole = options.whole(page, *bold, "bold")
    return whole or _predicate(page, *last, options) or _concluded(page, lines.conclusion(page, *last), options)


_LEADING_MARKS = re.compile(r"[\s*_\"'`$>#-]*")


def _leading_text(page: Page, start: int, end: int, options: Options) -> Picked:
    """The option whose text a response begins with as a statement of its own: "Yes, because ...", "Paris. It"."""
    first = lines.first_end(page.clear, start, end)
    start = _LEADING_MARKS.match(page.clear, start, first).end()  # type: ignore[union-attr]  # matches nothing, too
    head = page.lower[start : min(first, start + 200)]
    fits = [
        (len(text), index)
        for index, text in enumerate(text.lower().rstrip(" .") for text in options.texts)
        if text and head.startswith(text) and (_PAUSE.match(head, len(text)) or not head[len(text) :].strip(" *_"))
    ]
    if not fits:
        return None
    length, index = max(fits)
    follows = normalised(head[length:]) or normalised(page.clear[first : min(end, first + 200)])
    others = "|".join(re.escape(text) for text in options.plain if text)
    if re.match(rf"(?:\S+ (?:or|and) )?(?:{others})(?:$| (?:or|and|{others})\b)", follows):
        return None  # a list of options
    rest = [text.lower().rstrip(" .") for place, text in enumerate(options.texts) if place != index and text.strip()]
    if head.startswith(":", length) and any(f"\n{text}:" in page.lower[first:end] for text in rest):
        return None  # and what is known of each
    return Piece(LETTERS[index], start, start + length, "letter:option_text")


_IS = re.compile(r"\b(?:is|are|was|were|called|named|ist|war|est|es|è|é)\s|(?<!\s\w):\s|=\s")


def _predicate(page: Page, line: int, line_end: int, options: Options) -> Picked:
    """The option that a last sentence ends with behind its verb: "The largest ocean is the Pacific Ocean"."""
    at = max(line, page.clear.rfind(". ", line, line_end - 1) + 1)
    verbs = list(_IS.finditer(page.lower, at, line_end)) if line_end - at < 300 else []
    if not verbs or lines.HEDGE.search(page.lower, at, line_end) or page.clear[line_end - 1] == "?":
        return None
    return options.whole(page, *marks.narrow(page.clear, verbs[-1].end(), line_end), "conclusion")


def _concluded(page: Page, sentence: tuple[int, int] | None, options: Options) -> Picked:
    """The option that a concluding sentence holds, if it does not hedge."""
    picked = options.pick(page, *sentence, "conclusion") if sentence else None
    if sentence is None or picked is None or ":" not in picked.rule:
        return picked
    return None if picked.unclear or lines.HEDGE.search(page.lower, *sentence) else picked
