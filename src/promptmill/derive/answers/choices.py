"""Which option a statement names: by its letter, or by its text.

`Options.pick` reads one statement ("(C)", "C) stagger", "Option c", "the Eiffel Tower, because ...") and says

- a `Piece` with the letter, where exactly one option is named;
- an unclear `Piece`, where several are, or a letter that no option has: what was said is no answer, and nothing
  before it may be taken instead;
- None, where the statement names none: another may.

A letter counts only at the beginning of the statement, after words like "option" or "most likely", and only if what
follows lets it stand alone. So the article in "a dog", the pronoun in "I think" and the first letter of "Antwort" are
no options. A text counts when it is that of one option alone, marks, case and articles aside.

Not covered: sentences that describe an option in other words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from promptmill.derive.answers import marks, sentences
from promptmill.derive.answers.languages import BEFORE_LETTER
from promptmill.derive.answers.page import Page, Piece, lowered
from promptmill.derive.answers.wording import normalised

Picked = Piece | None

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OTHER_LETTERS = {
    **dict(zip("ⒶⒷⒸⒹⒺⒻⒼⒽ", LETTERS, strict=False)),
    **dict(zip("①②③④⑤⑥⑦⑧⑨⑩", LETTERS, strict=False)),
    **dict(zip("🅐🅑🅒🅓🅔🅕", LETTERS, strict=False)),
    **dict(zip("🅰🅱", "AB", strict=False)),
    "А": "A", "С": "C", "Е": "E", "Α": "A", "Β": "B", "Γ": "C", "Δ": "D", "Б": "B", "Г": "D",
    "أ": "A", "ا": "A", "ب": "B", "ج": "C", "د": "D", "א": "A", "ב": "B", "ג": "C", "ד": "D",
}  # fmt: skip
_CIRCLED = "".join(c for c in _OTHER_LETTERS if c > "\u20ff")
_OTHERS = "".join(c for c in _OTHER_LETTERS if c <= "\u20ff")
_OPENERS = re.compile(
    r"(?:[\s*_\"'`$(\[{~:<✅✔]|\\(?:text|textbf|textrm|mathrm|mathbf|mathsf|boxed|fbox|rm|bf)\s?\{|\\[(\[,; ])*"
)
_FILLER = re.compile(
    r"(?:(?:the|la|le|die|der|das|el|l'|o|a|il|de)\s(?=[^\n]{0,20}\b(?:option|choice|letter|answer|alternative|opción|"
    r"opzione|opção|lettera|letra|réponse|respuesta|risposta|resposta|antwort|correct|best|right|correcta|correcte|one|"
    r"optie)\b)|(?-i:(?:la|a|o|el|η|το|ο|az?)\ (?=[A-ZΑ-Ω](?!\w)|[a-z]\)))|(?:most\slikely|very\slikely|"
    r"almost\scertainly|probably|likely|definitely|clearly|simply|just|indeed|therefore|thus|"
    r"then|hence|obviously|certainly|actually|surely|perhaps|now|still|again|be|to\sbe|is|would\sbe|must\sbe|should\sbe|"
    r"it\sis|it's|it\smust\sbe|it\sshould\sbe|it\swould\sbe|eindeutig|wahrscheinlich|also|donc|entonces|por\stanto|quindi|dus|"
    rf"correct|best|right|final|first|{BEFORE_LETTER})(?![\w]))",
    re.IGNORECASE,
)
_LETTER = re.compile(
    rf"([A-Za-z])(?![A-Za-z0-9À-ɏ^_+#]|'(?![dt][iıuü]r)|\.[A-Za-z]\b)|([{_OTHERS}](?!\w)|[{_CIRCLED}](?![A-Za-z0-9]))"
)
_CJK = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af。，、！]")
_CLOSERS = re.compile(r"[\s)\]}*_\"'`$]{0,8}")
_STANDS = re.compile(
    r"\s*$|\s*[)\]}*_\"'`$.,;:!/&<>|\\~✓✔✅]|\s*[-–—]|\s*\n|\s+\(|"
    r"\s+(?:because|since|as\s(?:it|the|they|this)|is|was|are|which|for|due|with\sthe|and|or|und|oder|et|ou|y|o|e|weil|"
    r"denn|da|car|porque|perch[eé]|ist|est|es|è|é|är|er|je|jest|on|but|based|given|from|among|in\sthis|here|only|"
    r"then|nor|over|rather|instead|not|option|choice|answer|if|so|ou|[\u2190-\u2bff])(?![\w])",
)
_MORE = re.compile(
    r"[\s)\]}*_\"'`$]{0,8}(?:[,/&+;|和或与及と、]|\b(?:and|or|and/or|und|oder|et|ou|y|o|e|en|of|och|eller|i|lub|и|или|veya|ve)\b"
    r"|\b(?:and|or|then|both|either|possibly|potentially|perhaps|also|maybe)\b|\s){1,6}[\s(\[*_\"'`$]{0,6}"
    rf"(?:(?:{BEFORE_LETTER})\s{{1,2}}\(?)?([A-Z])(?![\w'’])(?!\)?\s(?:is|was|are|would|has|does|isn't|can)\b)"
)
ORDINALS = re.compile(
    r"(?:the\s)?(first|second|third|fourth|fifth|sixth|seventh|eighth|last)\s?"
    r"(?:(?:option|choice|answer|alternative|statement|solution|ending|one)\b|(?=\W*$))|"
    r"\b(?:option|choice|answer|number|statement|ending)\s(one|two|three|four|five|six|seven|eight)\b"
)
_COUNTS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
_COUNTED = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_NUMBERED = re.compile(
    r"(?:number\s|no\.?\s|#)?(?:([1-9])|(?<=\()(i{1,3}|i?v|vi{1,3}|ix)(?=\))|(ii{1,2}|iv|vi{1,3}|ix)(?=[.)]))"
    r"(?=[\W_]|[\u3040-\u9fff\uac00-\ud7af]|$)(?![.,]\d)[).:\]*]{0,3}(?:番|번)?(?:です|입니다|이다)?",
    re.IGNORECASE,
)
_INTEGER = re.compile(r"-?\d{1,9}")
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
_NUMERAL = re.compile(r"\d|^\W*[ivx]+\W*$", re.IGNORECASE)
_TEX = re.compile(r"\\(?:text|textbf|mathrm|mathbf|quad|[,; ])\s?\{?|[{}]")
_ASIDE = re.compile(r"\s{0,2}\([^()\n]{1,80}\)")
_TURN = re.compile(
    r"\b(?:because|since|as|not|rather|instead|unlike|while|whereas|but|so|over|weil|for|though|although|if|due|given|"
    r"eliminat\w+|nicht|pas|no)\b|[.!?]\s|\n|—|\s-\s",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"[\s*_\"'(]*(?:not|neither|none\b(?!\sof\sthe)|never|isn't|cannot be|can't be|nicht|pas|no(?=\s(?:es|"
    r"[A-Z]\b))|не|不是|nie)\b",
    re.IGNORECASE,
)
_RANGE = re.compile(r"\s?[-–—]\s?[A-Z](?![\w])|\s(?:to|through|bis)\s[A-Z](?!\w)")
_COMMON_WORDS = (
    "the is it this that of to in on at and or not no yes be are an both all none only i me we he as by for with "
)
_COMMON = frozenset(_COMMON_WORDS.split())
_LINES = re.compile(r"[\s).\]*]{0,8}\n\s{0,4}[(*]{0,3}([A-Z])[).*]{0,4}\s*(?:\n|$)")
_TURKISH = re.compile(r"\s(?:şıkkı|seçeneği|şık)")
_INITIAL = re.compile(r"\.\s?[A-Z]\.|\.\s[A-Z][a-z]+\s?$")


class Options(NamedTuple):
    """The options of one question, ready for comparing.

    Attributes:
        texts: the options' texts, as they are.
        plain: the same, normalised.
    """

    texts: tuple[str, ...]
    plain: tuple[str, ...]

    def letter(self, index: int) -> str:
        """The letter of an option."""
        return LETTERS[index]

    def pick(self, page: Page, start: int, end: int, rule: str) -> Picked:
        """The option that a statement names; see the module."""
        start, end = marks.narrow(page.clear, start, end)
        if start >= end:
            return None
        if (end - start > 3 or page.clear[start:end].isdigit()) and (whole := self.whole(page, start, end, rule)):
            return whole
        if _NOT.match(page.clear, start, end):
            return self._after_but(page, start, end, rule) or self._part(page, start, end, rule)
        by_letter = self.by_number(page, start, end, rule) or self._by_letter(page, start, end, rule)
        by_letter = by_letter or self.by_ordinal(page, start, end, rule)
        if by_letter is not None:
            return by_letter
        by_text = self._by_text(page, start, end, rule)
        if by_text is not None and by_text.unclear:
            cut = sentences.without_reasons(page.clear, start, end)
            by_text = (self._by_text(page, start, cut, rule) if cut < end else None) or by_text
        return by_text

    def by_ordinal(self, page: Page, start: int, end: int, rule: str) -> Piece | None:
        """The option that a statement counts: "the third option"."""
        counted = ORDINALS.match(page.lower, start, end)
        if counted is None:
            return None
        index = self.counted(counted[1] or counted[2])
        return Piece(self.letter(index), start, counted.end(), rule) if index is not None else None

    def by_number(self, page: Page, start: int, end: int, rule: str) -> Piece | None:
        """The option that a statement numbers: "(ii)", "2) lysosome", "option 3"; not where options hold numbers."""
        at, _ = _after_fillers(page.clear, start, end)
        match = _NUMBERED.match(page.clear, at, end)
        if match is None:
            return None
        index = int(match[1]) - 1 if match[1] else _ROMAN.index((match[2] or match[3]).lower())
        letter = match[2] if match[2] and len(match[2]) == 1 else None  # "(I)" may be the ninth letter
        if letter and LETTERS.index(letter.upper()) < len(self.texts):
            return None
        if not 0 <= index < min(len(self.texts), 9) or any(_NUMERAL.search(text) for text in self.texts):
            return None
        rest = normalised(
            page.clear[match.end() : match.end() + 400].split("\n", maxsplit=1)[0].strip("。 ")
        )  # "1. First we ..."
        told = not rest or (self.plain[index] and rest.startswith(self.plain[index]))
        return Piece(self.letter(index), match.start(), match.end(), rule) if told else None

    def counted(self, word: str) -> int | None:
        """The number of the option that an ordinal counts."""
        if any(re.search(rf"\b{word}\b", plain) for plain in self.plain):
            return None  # the word belongs to the options: "Only the first"
        index = len(self.texts) - 1 if word == "last" else (_COUNTS if word in _COUNTS else _COUNTED).index(word)
        return index if index < len(self.texts) else None

    def by_text(self, page: Page, start: int, end: int, rule: str) -> Picked:
        """The option whose text a statement names, letters left alone."""
        return self._by_text(page, *marks.narrow(page.clear, start, end), rule)

    def lead(self, page: Page, start: int, end: int) -> tuple[str, int, int] | None:
        """The letter at the beginning of a statement, with its place and the place behind it."""
        at, named = _after_fillers(page.clear, start, end)
        match = _LETTER.match(page.clear, at, end)
        if not match:
            return None
        letter = _OTHER_LETTERS.get(match[0]) or match[0].upper()
        behind = match.end()
        if not self._alone(page, match, (start, end), letter=letter, named=named):
            return None
        return letter, match.start(), behind

    def _alone(self, page: Page, match: re.Match[str], within: tuple[int, int], *, letter: str, named: bool) -> bool:
        """Whether what follows a letter lets it stand for an option."""
        clear, (start, end) = page.clear, within
        behind = match.end()
        rest = clear[behind : behind + 1]
        word = clear[behind : min(end, behind + 3)].lstrip(" ")[:1]
        if (word and (_CJK.match(word) or (word > "\u036f" and word.isalpha()))) or _TURKISH.match(clear, behind, end):
            return True
        before = clear[match.start() - 1 : match.start()] if match.start() > start else ""
        if match[0].islower() and match[0] in LETTERS.lower():
            closed = _CLOSERS.match(clear, behind, end)
            alone = closed is not None and not clear[closed.end() : end].strip(" .,;:!")
            marked = before in "([{*_$`\"'" and rest in ")]}*_$`\"'" and bool(before) and bool(rest)
            return alone or marked or (bool(rest and rest in ").:") and not _is_word(clear, behind, end)) or named
        if _INITIAL.match(clear, behind, end):
            return self._own_text(page, letter, behind, end)
        if not _STANDS.match(clear, behind, end):
            return self._own_text(page, letter, behind, end)
        if (
            letter in "AI"
            and match[0].isascii()
            and re.match(r"\s+(?:was|for|with|in|only|if|so|not|then|here|er|es|on)\b", clear[behind : behind + 8])
        ):
            return (
                named
                or bool(before and before in "(*[")
                or (letter == "A" and bool(re.match(r"\s+(?:for|if|only)\b", clear[behind : behind + 6])))
            )
        return True

    def _own_text(self, page: Page, letter: str, behind: int, end: int) -> bool:
        """Whether the text of a letter's own option follows it."""
        index = LETTERS.find(letter)
        if not 0 <= index < len(self.plain) or not self.plain[index]:
            return False
        return normalised(page.clear[behind : min(end, behind + 400)]).startswith(self.plain[index])

    def _by_letter(self, page: Page, start: int, end: int, rule: str) -> Picked:
        lead = self.lead(page, start, end)
        if lead is None:
            return None
        letter, at, behind = lead
        if LETTERS.index(letter) >= len(self.texts):
            marked = behind >= end or not page.clear[behind:end].strip(" .)*]}\"'$") or page.clear[at - 1 : at] == "("
            return Piece("", at, behind, rule, unclear=True) if marked and letter != "X" else None
        if self._others(page.clear, letter, behind, end):
            return Piece(letter, at, behind, rule, unclear=True)
        return Piece(letter, at, behind, rule)

    def _others(self, clear: str, letter: str, behind: int, end: int) -> bool:
        """Whether further letters are named beside the first."""
        if _RANGE.match(clear, behind, end) and not self._own_text(Page("", clear, ""), letter, behind, end):
            return True
        if (line := _LINES.match(clear, behind, end)) and line[1] != letter:
            return True
        own = self.texts[LETTERS.index(letter)].strip()
        rest = _TEX.sub(" ", clear[behind:end])
        if own and (found := lowered(rest[: len(own) + 20]).find(lowered(own))) >= 0:
            rest = rest[found + len(own) :] if own[-1] not in ".!?" else ""
            if found > 12:
                rest = _TEX.sub(" ", clear[behind:end])
        at = 0
        turn = _TURN.search(rest)
        rest = rest[: turn.start()] if turn else rest
        if aside := _ASIDE.match(rest):
            at = aside.end()
        more = _MORE.match(rest, at) or re.search(
            r"(?:\b(?:or|and)|[,;])\s(?:either\s|possibly\s|potentially\s)?[(*]{0,3}([A-Z])(?!\)?\s(?:is|was|are|would)\b)"
            r"(?:[).*]|,\s|\s*$|\s\()",
            rest,
        )
        return bool(more) and LETTERS.index(more[1]) < len(self.texts) and more[1] != letter  # type: ignore[index]

    def _after_but(self, page: Page, start: int, end: int, rule: str) -> Picked:
        but = re.compile(r"\b(?:but(?:\srather)?|it(?:'s|\sis)|sondern|sino|mais|rather)\b\s*").search(
            page.clear, start, end
        )
        return self._by_letter(page, but.end(), end, rule) if but else None

    def whole(self, page: Page, start: int, end: int, rule: str) -> Piece | None:
        """The one option that is exactly what is said."""
        if end - start > 1000:
            return None
        said = normalised(page.clear[start:end])
        found = [i for i, plain in enumerate(self.plain) if plain and plain == said]
        if len(found) != 1 or (
            len(said) < 2 and not (said.isdigit() and all(_INTEGER.fullmatch(p) for p in self.plain))
        ):
            return None
        return Piece(self.letter(found[0]), start, end, f"{rule}:option_text")

    def _by_text(self, page: Page, start: int, end: int, rule: str) -> Picked:
        """The one option whose text stands in a statement; one inside a longer one does not count."""
        if start >= end or end - start > 1500:
            return None
        if whole := self.whole(page, start, end, rule):
            return whole
        said = f" {normalised(page.clear[start:end])} "
        spans: list[tuple[int, int, int]] = []
        for index, plain in enumerate(self.plain):
            at = _find(said, plain) if plain else -1
            if at >= 0:
                spans.append((at, at + len(plain), index))
        outer = [
            s for s in spans if not any(o[0] <= s[0] and s[1] <= o[1] and o[1] - o[0] > s[1] - s[0] for o in spans)
        ]
        if not outer:
            return self._part(page, start, end, rule)
        if len(outer) > 1:
            return Piece(self.letter(min(outer)[2]), start, end, f"{rule}:option_text", unclear=True)
        if re.search(
            r" (?:not|isnt|neither|except|never|cannot|doesnt|rather|instead|unless|nor) ", said[: outer[0][0] + 1]
        ):
            return None
        return Piece(self.letter(outer[0][2]), start, end, f"{rule}:option_text")

    def _part(self, page: Page, start: int, end: int, rule: str) -> Piece | None:
        """The one option of whose text the whole statement is a part ("Rowling")."""
        said = normalised(page.clear[start:end])
        if len(said) < 2 or len(said) > 200 or said in _COMMON:
            return None
        found = [i for i, plain in enumerate(self.plain) if _find(plain, said) >= 0]
        return Piece(self.letter(found[0]), start, end, f"{rule}:option_text") if len(found) == 1 else None


@lru_cache(maxsize=512)
def options_of(choices: Sequence[str]) -> Options:
    """Options ready for comparing; remembered, since k responses share them."""
    return Options(tuple(choices), tuple(normalised(choice) for choice in choices))


def _after_fillers(clear: str, start: int, end: int) -> tuple[int, bool]:
    """The place behind marks and words like "option"; and whether such a word named a letter."""
    at, named = start, False
    for _ in range(6):
        opened = _OPENERS.match(clear, at, min(end, at + 40))
        at = opened.end() if opened else at
        filler = _FILLER.match(clear, at, end)
        if not filler:
            break
        named = bool(re.fullmatch(BEFORE_LETTER, filler[0].lower()))
        at = filler.end()
    return at, named


def _is_word(clear: str, behind: int, end: int) -> bool:
    """Whether a letter and its dot are an abbreviation such as `e.g.`."""
    return clear[behind : behind + 1] == "." and clear[behind + 1 : behind + 2].isalnum() and behind + 1 < end


def _find(said: str, plain: str) -> int:
    """Where a text stands in another as whole words, numbers kept whole; -1 where it does not."""
    at = said.find(plain)
    while at >= 0:
        before, behind = said[at - 1 : at], said[at + len(plain) : at + len(plain) + 1]
        if not _joins(before, plain[0]) and not _joins(behind, plain[-1]):
            return at
        at = said.find(plain, at + 1)
    return -1


def _joins(outside: str, inside: str) -> bool:
    if not outside or outside.isspace():
        return False
    if inside.isalnum() and outside.isalnum():
        return not (ord(inside) > 0x2E80 and ord(outside) > 0x2E80)  # words are not parted there
    return (inside.isdigit() and outside in ".,/^-") or outside in "^_\\"
