"""Extraction on real responses with recorded predictions (PROMPTMILL_DATA, default ../shared/data).

Counts are written out, so that a change of a rule shows what it does to real text; docs/extraction.md explains them.
"""

import json
import os
import re
from collections import Counter
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pytest

from promptmill.derive.answers import answer
from promptmill.records import Reference

GRADED = Path(os.environ.get("PROMPTMILL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "graded"
ROW = re.compile(
    r"^\d+_th_sampling\nQ: (?P<question>.*?)\nA: Let's think step by step\.(?P<text>.*?)\npred_before : .*?\n"
    r"pred_after : .*?\npred_mode : (?P<pred>.*?)\nGT : (?P<gold>.*?)\n",
    re.DOTALL | re.MULTILINE,
)

pytestmark = pytest.mark.skipif(not GRADED.is_dir(), reason=f"no graded answers at {GRADED}; set PROMPTMILL_DATA")


def logged(name, count):
    text = (GRADED / name).read_text(encoding="utf-8")
    rows = [ROW.search(block) for block in re.split(r"^\d+st data\n", text, flags=re.MULTILINE)[1:]]
    assert len(rows) == count
    return rows


def number(text):
    try:
        return None if text is None else Decimal(re.sub(r"[$,%\s]|\\[$%]", "", text).rstrip("."))
    except InvalidOperation:
        return None


def test_gsm8k_answers_of_gpt3_are_read_more_accurately_than_recorded():
    extract = answer()
    counts = Counter()
    for row in logged("gpt3_gsm8k_zero_shot_cot.log", 1319):
        found = extract(row["text"], Reference(answer=row["gold"]))
        ours, recorded, gold = number(found and found.text), number(row["pred"]), number(row["gold"])
        counts["recorded right"] += recorded == gold
        counts["right"] += ours == gold
        counts["no answer"] += found is None
        if ours != recorded:
            counts["disagree"] += 1
            counts["disagree, ours right"] += ours == gold
            counts["disagree, recorded right"] += recorded == gold
    assert counts["right"] >= counts["recorded right"] == 542
    assert counts == GSM8K


GSM8K = {
    "recorded right": 542,
    "right": 559,
    "no answer": 16,
    "disagree": 111,
    "disagree, ours right": 20,
    "disagree, recorded right": 3,
}


def choices(question):
    return tuple(text.strip() for text in re.split(r"\s?\([A-E]\) ", question.split("Answer Choices: ")[1])[1:])


@pytest.mark.parametrize("several", ["none", "prose", "first"])
def test_choices_of_gpt3_are_read_as_accurately_as_recorded(several):
    extract = answer(several=several)
    counts = Counter()
    for row in logged("gpt3_commonsenseqa_zero_shot_cot.log", 1221):
        found = extract(row["text"], Reference(choices=choices(row["question"])))
        letter = found.text if found else None
        counts["recorded right"] += row["pred"] == row["gold"]
        counts["right"] += letter == row["gold"]
        counts["no answer"] += found is None
        counts["recorded right where we answer"] += found is not None and row["pred"] == row["gold"]
        counts["another letter"] += found is not None and letter != row["pred"]
    assert counts["recorded right"] == 789
    assert counts["right"] >= counts["recorded right where we answer"]
    assert several == "none" or counts["right"] >= 789
    assert counts == CSQA[several]


CSQA = {
    "none": {
        "recorded right": 789,
        "right": 718,
        "recorded right where we answer": 715,
        "no answer": 161,
        "another letter": 3,
    },
    "prose": {
        "recorded right": 789,
        "right": 789,
        "recorded right where we answer": 786,
        "no answer": 13,
        "another letter": 3,
    },
    "first": {
        "recorded right": 789,
        "right": 790,
        "recorded right where we answer": 786,
        "no answer": 10,
        "another letter": 4,
    },
}


def test_every_answer_of_qwen_that_math_verify_settled_is_the_recorded_one():
    extract = answer()
    counts = Counter()
    for path in sorted(GRADED.glob("*qwen3-8b*.jsonl")):
        for line in path.read_text(encoding="utf-8").split("\n"):
            row = json.loads(line) if line else {"responses": []}
            for response in row["responses"]:
                found = extract(response["full_response"], Reference(answer=row["answer_correct"]))
                recorded = plain(response["extracted_answer"] or "")
                said = "none" if found is None else "same" if plain(found.text) == recorded else "another"
                counts[response["extraction_method"], said] += 1
    assert counts == QWEN


QWEN = {
    ("math_verify", "same"): 45,
    ("llm_judge", "same"): 769,
    ("llm_judge", "another"): 79,
    ("llm_judge", "none"): 55,
}


def plain(text):
    text = re.sub(r"^\\boxed\{(.*)\}$", r"\1", text.strip())
    return re.sub(r"[\s$\\{}^]|text|circ", "", text).rstrip(".").lower()
