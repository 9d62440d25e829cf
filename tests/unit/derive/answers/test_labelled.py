"""The labelled suite: what a reader takes for the answer of a response, by kind."""

import json
from collections import Counter
from pathlib import Path

import pytest

from promptmill.derive.answers import answer
from promptmill.records import Reference

DATA = Path(__file__).parents[3] / "data"
FILES = [f"extraction{part}.jsonl" for part in ("", "_held_out", *(f"_held_out_{n}" for n in range(2, 28)))]
KNOWN_WRONG = (
    frozenset(  # "Probably B?"; an answer whose own "!" is taken off; one in a sentence repeated and cut; one in French
        ("n14-086", "n15-036", "n16-083", "n27-156")
    )
)
FIRST_TAKEN = frozenset(  # several options in a sentence are no answer to a reader; the default takes the first of them
    [
        "b123",
        "b124",
        "b125",
        "b126",
        "b127",
        "b128",
        "b130",
        "b132",
        "b135",
        "b137",
        "h068",
        "h069",
        "h070",
        "k008",
        "k022",
        "k064",
        "n11-056",
        "n23-064",
        "n24-079",
        "z048",
    ]
)


def cases():
    for name in FILES:
        for line in (DATA / name).read_text(encoding="utf-8").split("\n"):
            if line:
                yield json.loads(line)


CASES = list(cases())
KINDS = sorted({case["kind"] for case in CASES})


def reference(case):
    return Reference(answer=case.get("reference"), choices=tuple(case["choices"] or ()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_case_of_a_kind_is_read_as_a_reader_would(kind):
    extract = answer(several="none")
    wrong = {}
    for case in CASES:
        if case["kind"] == kind:
            found = extract(case["text"], reference(case))
            if (found.text if found else None) != case["expected"]:
                wrong[case["id"]] = found
    assert set(wrong) == {case["id"] for case in CASES if case["kind"] == kind} & KNOWN_WRONG, wrong


def test_by_default_nothing_differs_but_the_first_of_several_options_in_a_sentence():
    extract = answer()
    found = {case["id"]: extract(case["text"], reference(case)) for case in CASES}
    wrong = {case["id"] for case in CASES if (found[case["id"]] and found[case["id"]].text) != case["expected"]}
    assert wrong == FIRST_TAKEN | KNOWN_WRONG
    assert {found[name].method for name in FIRST_TAKEN} == {"phrase:first_of_several"}
    assert len(wrong) <= 0.03 * len(CASES)


def test_the_suite_is_large_and_has_no_case_twice():
    assert len(CASES) >= 1200
    assert len(KNOWN_WRONG) <= 0.03 * len(CASES)
    assert len({case["id"] for case in CASES}) == len(CASES)
    same = Counter((case["text"], tuple(case["choices"] or ()), case.get("reference")) for case in CASES)
    assert not [text for text, count in same.items() if count > 1]


def test_a_place_is_given_where_the_answer_stands():
    extract = answer()
    for case in CASES:
        found = extract(case["text"], reference(case))
        if found is None:
            continue
        start, end = found.span
        assert 0 <= start < end <= len(case["text"]), case
        shown = case["text"][start:end]
        if case["choices"]:
            assert is_shown(found.text, shown, case["choices"]), (case, shown)
        elif shown.isascii() and "\\" not in shown:
            assert found.text in shown, (case, shown)


COUNTED = {
    "2)": "B",
    "ii)": "B",
    "iv)": "D",
    "first": "A",
    "second": "B",
    "third": "C",
    "fourth": "D",
    "last": "D",
    "two": "B",
    "1": "A",
    "2": "B",
}


def is_shown(letter, shown, choices):
    if len(shown) == 1:
        return True  # the letter itself, perhaps in another script
    counted = (
        shown.lower().removesuffix("です").removesuffix("番").removeprefix("the ").removeprefix("option ").split(" ")[0]
    )
    if counted in COUNTED and (len(counted) > 1 or not any(c.isdigit() for c in "".join(choices))):
        return letter == COUNTED[counted]
    own = "".join(filter(str.isalnum, choices[ord(letter) - 65].lower().replace("frac", "")))
    said = "".join(filter(str.isalnum, shown.lower().replace("dfrac", "").replace("frac", "").replace("text", "")))
    return (
        own.removeprefix("a") in said or said in own or said.removeprefix("the") in own or said.removeprefix("a") in own
    )
