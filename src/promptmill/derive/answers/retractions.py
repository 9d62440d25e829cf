"""Where a response takes back what it said: what stands before that is no answer any more.

"The answer is B. Scratch that, it asks for the largest one: C." The ladder reads what follows the last such place; if
that says nothing, there is no answer, and what was taken back is not taken instead.

Not covered: second thoughts without a word for them ("B. C is better.").
"""

from __future__ import annotations

import re

from promptmill.derive.answers.page import Page

_HINTS = frozenset(
    {
        *("scratch", "back", "thought", "thoughts", "more", "anymore", "now", "correction", "wait", "hold", "hmm"),
        *("actually", "sorry", "mean", "apologize", "apologise"),
    }
)
_RETRACTS = re.compile(
    r"(?:\.\.\.|—|…|,)\s?(?:sorry|i mean|wait),\s|"
    r"\b(?:scratch that|i take (?:that|it) back|on second thoughts?|correction:|"
    r"i(?:'m| am) (?:not|no longer) (?:so |really |even )?(?:sure|certain) (?:any ?more|now)|"
    r"(?:wait|hold on|hmm|sorry|actually|i apologi[sz]e)\b[\s,.!:;—-]{1,6}"
    r"(?:(?:wait|no|hmm|actually|but)\b[\s,.!—-]{0,4})?"
    r"(?:that(?:'s| is| was) (?:wrong|incorrect|not (?:right|correct|what))|"
    r"i (?:misread|forgot|miscounted|miscalculated|was wrong|made (?:a|an)|meant|have made|see (?:a|my) mistake)))"
)


def last(page: Page, start: int, end: int) -> int:
    """The place of the last retraction between two places; the start, where there is none."""
    if _HINTS.isdisjoint(page.words):
        return start
    at = start
    for match in _RETRACTS.finditer(page.lower, start, end):
        at = match.start()
    return at
