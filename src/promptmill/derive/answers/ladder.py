"""The ladder: one rule after another, for multiple choice and for open answers. See the package for the rules.

For multiple choice a tag counts first; a box and an announcement by their order, since a box may hold an intermediate
value ("we get a box with 42 ... Answer: D"). For open answers the order of the ladder holds, but a number that is
announced after the box takes its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

from promptmill.derive.answers import (
    boxed,
    closing,
    copulas,
    endings,
    letters,
    marks,
    numbers,
    objects,
    phrases,
    retractions,
    runons,
    tags,
    weighing,
)
from promptmill.derive.answers.choices import Options, Picked, options_of
from promptmill.derive.answers.page import Page, Piece, read
from promptmill.errors import ConfigError
from promptmill.records import Answer, Reference
from promptmill.registry import Extractor

RULES = ("answer_tag", "boxed", "json", "hashes", "phrase", "table", "letter", "bold", "conclusion", "whole", "weighed")
"""Names of the rules, in the order in which they are asked."""
Rules = frozenset[str]
_TWIN = re.compile(
    r"\\boxed\{(?:\\text\{)?\(?([A-Z])\)?\}{1,2}[ $]{0,3}\\boxed\{(?:\\text\{)?\(?\Z"
)  # `\boxed{A}\boxed{C}`


def answer(
    *,
    rules: Sequence[str] = RULES,
    expect: Literal["auto", "number", "text"] = "auto",
    several: Literal["none", "prose", "first"] = "prose",
) -> Extractor:
    """The answer that a response gives, found by a ladder of rules; none where no rule finds one.

    Args:
        rules: the rules to ask; leave some out to be stricter. They are asked in a fixed order.
        several: what "A or B" is: none, no answer; first, the option that is named first; prose, the first where it is
            said in a sentence, as published figures do, and none in tags, boxes and JSON.
        expect: number takes the number out of a sentence that holds one; auto does so where the reference is one.
    """
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown:
        raise ConfigError(f"rules: no '{unknown[0]}'. There are: {', '.join(RULES)}.")
    asked = frozenset(rules)

    def extract(text: str, reference: Reference) -> Answer | None:
        page = read(text)
        if page is None:
            return None
        if reference.choices:
            found = _choice(page, options_of(tuple(reference.choices)), asked)
            if found is not None and found.unclear:
                found = _first_of(found, several)
        else:
            number = expect == "number" or (expect == "auto" and numbers.expected(reference.answer))
            found = _open(page, asked, number=number)
        return None if found is None else Answer(text=found.text, method=found.rule, span=(found.start, found.end))

    return extract


def _first_of(found: Piece, several: Literal["none", "prose", "first"]) -> Piece | None:
    """The first of several options, where it may be taken; the method says so."""
    # a text that is part of several options is not a list of them
    in_prose = found.rule.partition(":")[0] not in {"answer_tag", "boxed", "json", "letter"} and ":" not in found.rule
    if not found.text or several == "none" or (several == "prose" and not in_prose):
        return None
    return found._replace(rule=f"{found.rule}:first_of_several", unclear=False)


def _choice(page: Page, options: Options, rules: Rules) -> Piece | None:
    return _standing(page, lambda within: _choice_in(page, within, options, rules))


def _standing(page: Page, read_in: Callable[[tuple[int, int]], Piece | None]) -> Piece | None:
    """What the first piece says that says something; what it takes back again is no answer."""
    for start, end in runons.pieces(page):
        begin = retractions.last(page, start, end)
        found = read_in((begin, end))
        if found is not None or (begin > start and read_in((start, begin)) is not None):
            return found
    return None


def _choice_in(page: Page, within: tuple[int, int], options: Options, rules: Rules) -> Picked:
    start, end = within
    echo: Picked = None
    if "answer_tag" in rules:
        for tagged in tags.contents(page, start, end):
            if tags.is_listed(page, tagged):
                return Piece("", tagged.start, tagged.end, "answer_tag", unclear=True)
            found = _tagged_choice(page, tagged, options)
            if found is not None and not tagged.echo:
                return found
            echo = echo or found
    found = _stated_choice(page, within, options, rules)
    if found is not None or echo is not None:
        return found if found is not None else echo
    steps: list[tuple[str, Callable[[], Picked]]] = [
        ("letter", lambda: letters.letter(page, start, end, options)),
        ("whole", lambda: letters.option_text(page, start, end, options)),
        ("weighed", lambda: weighing.weighed(page, start, end, options)),
    ]
    return next((got for rule, step in steps if rule in rules and (got := step()) is not None), None)


def _stated_choice(page: Page, within: tuple[int, int], options: Options, rules: Rules) -> Picked:
    """The later of a box and an announcement; then JSON, hashes and tables."""
    start, end = within
    key = (objects.field(page) or objects.marked(page, start, end)) if "json" in rules else None
    if key is not None and key.text.isdigit() and page.clear[key.start - 1] not in "\"'":
        named = options.whole(page, key.start, key.end, key.rule)  # an index counts from 0 or from 1
        return named or key._replace(text="", unclear=True)
    if key is not None and start <= key.start < end and (named := _in_piece(page, key, options)) is not None:
        return named
    box = boxed.last(page, start, end) if "boxed" in rules else None
    in_box = _boxed_choice(page, box, options) if box else None
    said = phrases.choice(page, start, end, options) if "phrase" in rules else None
    if in_box is not None and box is not None:
        later = said is not None and not said.unclear and said.start > box.end and ":" not in said.rule
        return said if said is not None and later else in_box
    if said is not None:
        return said
    others: list[tuple[str, Callable[[], Piece | None]]] = [
        ("hashes", lambda: endings.hashes(page, start, end)),
        ("table", lambda: objects.cell(page)),
    ]
    for rule, step in others:
        piece = step() if rule in rules else None
        if piece is not None and start <= piece.start < end and (got := _in_piece(page, piece, options)) is not None:
            return got
    return None


def _tagged_choice(page: Page, tagged: tags.Tagged, options: Options) -> Picked:
    box = boxed.last(page, tagged.start, tagged.end, rule="answer_tag")
    if box is not None and (found := _boxed_choice(page, box, options)) is not None:
        return found
    found = options.pick(page, tagged.start, tagged.end, "answer_tag")
    if found is None or ":" in found.rule:
        said = phrases.choice(page, tagged.start, tagged.end, options)
        if said is not None and not said.unclear:
            return said._replace(rule=said.rule.replace("phrase", "answer_tag"))
        found = said if said is not None else found
    if found is None and re.fullmatch(
        r"[\W_]*(?:\\(?:boxed|text)\W*)*[xX][\W_]*", page.clear[tagged.start : tagged.end]
    ):
        return None  # "<answer>X</answer>, X being the letter"
    if found is None and (box is not None or tagged.closed) and tagged.end - tagged.start < 200:
        return Piece(
            "", tagged.start, tagged.end, "answer_tag", unclear=True
        )  # an answer was given, and it is none of the options
    return found


def _boxed_choice(page: Page, box: Piece, options: Options) -> Picked:
    twin = _TWIN.search(page.clear, max(0, box.start - 60), box.start)
    if twin and twin[1] != box.text:
        return box._replace(unclear=True)
    if "," in box.text and len({part.strip() for part in box.text.split(",")} - {""}) > 1:
        letters = [part.strip(" ()*.") for part in box.text.split(",")]
        if all(len(part) == 1 and part.isalpha() for part in letters):
            return box._replace(text=letters[0].upper(), unclear=True)
    return _in_piece(page, box, options)


def _in_piece(page: Page, piece: Piece, options: Options) -> Picked:
    return options.pick(page, piece.start, piece.end, piece.rule)


def _open(page: Page, rules: Rules, *, number: bool) -> Piece | None:
    return _standing(page, lambda within: _open_in(page, within, rules, number=number))


def _open_in(page: Page, within: tuple[int, int], rules: Rules, *, number: bool) -> Piece | None:
    start, end = within
    echo: Piece | None = None
    if "answer_tag" in rules:
        for tagged in tags.contents(page, start, end):
            found = _tagged_open(page, tagged, number=number)
            if found is not None and not tagged.echo:
                return found
            echo = echo or found
    box = boxed.last(page, start, end) if "boxed" in rules else None
    if box is not None:
        said = phrases.open_answer(page, box.end, end, number=number) if "phrase" in rules else None
        return said if said is not None and numbers.is_value(said.text) else _unannounced_box(page, box)
    steps: list[tuple[str, Callable[[], Piece | None]]] = [
        ("json", lambda: objects.field(page)),
        ("hashes", lambda: endings.hashes(page, start, end)),
        ("phrase", lambda: phrases.open_answer(page, start, end, number=number)),
        ("table", lambda: objects.cell(page)),
    ]
    for rule, step in steps:
        piece = step() if rule in rules else None
        if piece is not None and start <= piece.start < end:
            return piece if not number or numbers.is_value(piece.text) else closing.stated(page, piece) or piece
    return echo if echo is not None else _unannounced(page, within, rules, number=number)


def _unannounced_box(page: Page, box: Piece) -> Piece:
    r"""What a box says without its own announcement: `\boxed{The answer is 5}`."""
    if "answer" not in page.lower[box.start : box.end]:
        return box
    said = phrases.open_answer(page, box.start, box.end, number=False)
    return box if said is None else said._replace(rule=box.rule)


def _unannounced(page: Page, within: tuple[int, int], rules: Rules, *, number: bool) -> Piece | None:
    if "bold" in rules and (found := endings.bold(page, *within, number=number)) is not None:
        return found
    if "conclusion" in rules and (found := endings.conclusion(page, *within, number=number)) is not None:
        return found
    if number and "conclusion" in rules and (found := closing.number(page, *within)) is not None:
        return found
    bare = endings.bare(page, *within, number=number) if "whole" in rules else None
    if bare is None and "conclusion" in rules:
        steps = (closing.predicate, copulas.predicate, closing.quantity)
        stated = next((found for step in steps if (found := step(page, *within)) is not None), None)
        return (
            None
            if number and stated is not None and (numbers.are_several(stated.text) or "=" in stated.text)
            else stated
        )
    if not number or bare is None:
        return bare
    value = numbers.only(page, bare) or bare
    return None if closing.is_bound(page, value) else value


def _tagged_open(page: Page, tagged: tags.Tagged, *, number: bool) -> Piece | None:
    start, end = tagged.start, tagged.end
    inside = boxed.boxes(page.clear, start, end)
    if inside:
        beside = _beside_boxes(page, inside, (start, end))
        box = boxed.last(page, start, end, rule="answer_tag") if beside is None else None
        return beside if box is None else _unannounced_box(page, box)
    said = phrases.open_answer(page, start, end, number=number)
    whole = numbers.result(page, marks.piece(page, start, end, "answer_tag"))
    if said is not None and (number or (said.end - start > 0 and page.clear[start : said.start].count("\n") <= 3)):
        return said._replace(rule="answer_tag")
    if whole is None:
        return None
    if number and not numbers.is_value(whole.text):
        return numbers.only(page, whole) or whole
    return whole


def _beside_boxes(page: Page, inside: list[boxed.Box], within: tuple[int, int]) -> Piece | None:
    r"""A box with maths behind it (`\boxed{5}\sqrt{3}`): both are the answer."""
    box = inside[-1]
    tail = page.clear[box.after : within[1]].strip(" $.\n")
    if len(inside) != 1 or not tail.startswith(
        ("\\sqrt", "^", "\\pi", "\\%", "%", "_", "\\frac", "\\cdot", "\\times", "\\circ", "!")
    ):
        return None
    if len(tail) > 60 or page.clear.find("\n", box.after, within[1]) >= 0:
        return None
    whole = marks.piece(page, box.mark, within[1], "answer_tag")
    return whole._replace(text=boxed.unwrapped(whole.text)) if whole else None
