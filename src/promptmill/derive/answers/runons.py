r"""Where a response runs on into another question, which is not to be read for an answer to this one.

A base model goes on with "Q: ...", a chat model now and then with a turn of the user. `pieces` cuts before each such
line and at marks that end a turn; the ladder reads the first piece that says something. So a response that repeats its
question answers that one, and what it asks itself afterwards is left alone.

Not covered: a next question without a mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, pairwise

from promptmill.derive.answers.page import Page, hints, holds

_MOST = 8
_QUESTION = re.compile(
    r"\n[ \t]{0,3}(?:[*_#>]{1,4}[ \t]?){0,2}(?:"
    r"(?:next |new |another |follow-?up )?(?:question|problem|exercise|query|frage|aufgabe|pregunta|ejercicio|"
    r"domanda|pergunta|questão|vraag|"
    r"pytanie|zadanie|fråga|вопрос|задача|otázka|soru|سؤال|السؤال)[ \t]{0,2}(?:#|no\.? ?|"
    r"n°)?\d{0,4}[ \t]{0,2}[*_]{0,3}(?:[:：.)](?=\s|\*|$)|(?<=\d)(?=\s*\n|\*\*))"
    r"|(?:问题|問題|题目|문제|질문)[ \t]?\d{0,3}[ \t]?[:：]"
    r"|(?:\d{1,3}[.)][ \t]*)?Q[ \t]?\d{0,4}[:.：]"
    r"|(?:user|human|instruction|input|student|<user>|\[user\])[ \t]{0,2}[*_]{0,2}:"
    r"|\d{1,3}[.)][ \t][^\n?]{5,300}\?[ \t]*\n\s*(?:\(?A[).:]|answer:)"  # "4. Which gas ...?", and its options
    r"|problem \d{1,3}\b|question \d{1,3}\b(?!\s(?:is|asks|was))|exercise \d{1,3}\b)",
    re.IGNORECASE,
)
_WITHIN_LINE = re.compile(r" (?:(?:Next q|Q)uestion[ \t]?\d{0,3}|(?<=[.!?] )(?:Q[ \t]?\d{0,3}|Human|User)):(?=\s)")
_WITHIN_WORDS = frozenset(("question", "q", "human", "user"))
_NOUNS = frozenset(
    {
        *("question", "problem", "exercise", "query", "frage", "aufgabe", "pregunta", "ejercicio", "domanda"),
        *("pergunta", "vraag", "pytanie", "zadanie", "soru", "user", "human", "instruction", "input", "student"),
    }
)
_OTHER_NOUNS = ("questão", "fråga", "вопрос", "задача", "otázka", "سؤال", "问题", "問題", "题目", "문제", "질문")
_SIGNS = hints("\nq", "\n\tq", "\n q", ". q", ") q", "**q", "#q", "# q", "?\n")
_MARK = 8  # characters of a number before it, at most
_HEAD = 16  # characters of a line before the noun, at most: "**Follow-up question"
_END_OF_TURN = re.compile(
    r"<end_of_turn>|<\|(?:end_of_turn|im_end|im_start|eot_id|endoftext|end|return|user|end_of_text|assistant|turn)\|>|</s>|<eos>|"
    r"<start_of_turn>|<turn\|>|\[INST\]|\[/INST\]|<｜end▁of▁sentence｜>|<｜User｜>|<\|START_OF_TURN_TOKEN\|>"
)


def pieces(page: Page) -> Iterator[tuple[int, int]]:
    """The pieces of a response, in order; the first that says something is the answer to the question asked."""
    marked = _is_marked(page)
    for start, end in _turns(page.clear):
        cuts = _questions(page, start, end, marked=marked)
        places = [start, *cuts, end]
        yield from pairwise(places)


def _is_marked(page: Page) -> bool:
    """Whether a next question may be marked: a noun stands near the beginning of a line, or a sign anywhere."""
    for noun in (*(_NOUNS & page.words), *(() if page.lower.isascii() else _OTHER_NOUNS)):
        at = page.lower.find(noun)
        while at >= 0:
            if page.lower.rfind("\n", max(0, at - _HEAD), at) >= 0:
                return True
            at = page.lower.find(noun, at + 1)
    return any(holds(page, sign, 0, len(page.lower)) for sign in _SIGNS)


def _turns(clear: str) -> list[tuple[int, int]]:
    first = min((at for at in (clear.find("<"), clear.find("[")) if at >= 0), default=-1)
    if first < 0:
        return [(0, len(clear))]
    found: list[tuple[int, int]] = []
    at = 0
    for mark in _END_OF_TURN.finditer(clear, first):
        if clear[at : mark.start()].strip():
            found.append((at, mark.start()))
        at = mark.end()
        if len(found) >= _MOST:
            break
    return [*found, (at, len(clear))]


def _questions(page: Page, start: int, end: int, *, marked: bool) -> list[int]:
    """Where the first questions begin behind the first line."""
    # no pattern over texts that cannot hold one
    found = islice(_QUESTION.finditer(page.clear, start, end), _MOST) if marked else ()
    hinted = not _WITHIN_WORDS.isdisjoint(page.words)
    within = islice(_WITHIN_LINE.finditer(page.clear, start, end), _MOST) if hinted else ()
    cuts = sorted(match.start() for match in (*found, *within))[:_MOST]
    return [cut for place, cut in enumerate(cuts) if not place or cut - cuts[place - 1] > _MARK]  # "1. Question: ..."
