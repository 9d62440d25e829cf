"""Which answers to one problem are one answer: for majority votes.

Whoever votes does not know the reference, so answers are compared with one another: by their spelling first, then by
the metric of the problem, which is asked whether it takes one for the other (`x+1` and `1+x`). An answer that was found
right and one that was found wrong are never one.

Not covered: counting (`estimates.majority`); programs, which are one answer only when they are the same text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from promptmill.evaluate.numbers import read_number
from promptmill.evaluate.spelling import MAX_LENGTH, dense, spell

EQUALITIES = {"em_mc", "exact", "gsm8k", "math", "numeric"}
"""Metrics that say whether two texts mean the same; others measure something else of an answer."""

Alike = Callable[[str, str], bool | None]


def votes(answers: Sequence[tuple[str, float | None]], alike: Alike) -> list[str]:
    """What each answer counts as: the text of the answer that stands for all that are one with it.

    That is the one that was given most often, of several the first by its text, so the order of the answers does not
    matter. What could not be graded is compared by its spelling only: to compute with it would take too long again.
    And nobody waits twice for one problem: after a comparison that came to no end its other answers are spelled, too.

    Args:
        answers: the answers to one problem, each with its value.
        alike: whether two of them mean the same, though they are spelled otherwise; None where it came to no end.
    """
    often = Counter(answers)
    found: dict[tuple[str, float | None], str] = {}
    by_spelling: dict[tuple[str, float | None], str] = {}
    leaders: dict[float | None, list[str]] = {}
    late = False
    for text, value in sorted(often, key=lambda answer: (-often[answer], answer[0])):
        spelling = spelled(text), value
        if spelling not in by_spelling:
            known = leaders.setdefault(value, [])
            by_spelling[spelling] = text
            for leader in known if value is not None else ():
                same = False if late else alike(leader, text)
                late = late or same is None
                if same:
                    by_spelling[spelling] = leader
                    break
            else:
                known.append(text)
        found[text, value] = by_spelling[spelling]
    return [found[answer] for answer in answers]


def spelled(answer: str) -> str:
    """A form in which answers that say the same are equal texts, as far as spelling tells.

    Numbers by their value and unit (`1,000 m` and `1 km`), other texts without blanks, case and ways to write the same
    TeX.
    """
    if len(answer) > MAX_LENGTH:
        return answer
    number = read_number(answer)
    if number is not None:
        unit = number.unit
        return (
            f"{number.value * (unit.factor or 1)} {unit.dimension}{'%' if number.percent else ''} {number.base or ''}"
        )
    return dense(spell(answer)).casefold().rstrip(".")
