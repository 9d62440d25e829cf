"""Answers taken out of responses on one core, and how many of the labelled ones are read right.

Two claims: at least 5,000 responses of 2,000 characters per CPU second for each way to give an answer; at least 97 %
of the labelled suite right. The responses are reasoning of about 2,000 characters with the answer behind it; the last
two have none, the worst case: every rule is asked; it is told, and is no part of the claim. The share right is
counted over every file of the suite.

Run: python benchmarks/extract_answers.py [--seconds 1]
"""

import argparse
import json
import time
from pathlib import Path

from promptmill.derive.answers import answer
from promptmill.records import Reference

SUITE = sorted((Path(__file__).parents[1] / "tests" / "data").glob("extraction*.jsonl"))
STEP = (
    "We consider the problem step by step. First we note that 3 + 4 = 7 and that the rate is $12 per hour, so over 5 "
    "hours it is 60. Then $x^2 = 49$ gives x = 7.\n\n"
)
REASONING = (STEP * 15)[:2000]
CHOICES = Reference(choices=("crust", "mantle", "outer core", "inner core"))
OPEN = Reference(answer="42")
CASES = {
    "open, tag": (r"<answer>\boxed{42}</answer>", OPEN),
    "open, box": (r"\boxed{42}", OPEN),
    "open, phrase": ("The answer is 42.", OPEN),
    "choice, tag": (r"<answer>\boxed{B}</answer>", CHOICES),
    "choice, phrase": ("The answer is (B).", CHOICES),
    "open, none": ("", Reference(answer="Paris")),
    "choice, none": ("", CHOICES),
}


def rate(text, reference, seconds):
    """Responses per CPU second."""
    extract = answer()
    began = time.process_time()
    count = 0
    while time.process_time() - began < seconds:
        for _ in range(100):
            extract(text, reference)
        count += 100
    return count / (time.process_time() - began)


def suite():
    """The share of the labelled suite that is read right, by file."""
    extract = answer()
    right = {}
    for path in SUITE:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        found = [
            extract(r["text"], Reference(answer=r.get("reference"), choices=tuple(r["choices"] or ()))) for r in rows
        ]
        hits = sum((f.text if f else None) == r["expected"] for f, r in zip(found, rows, strict=True))
        right[path.stem] = (hits, len(rows))
    return right


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    rates = {name: rate(REASONING + tail, reference, given.seconds) for name, (tail, reference) in CASES.items()}
    for name, value in rates.items():
        print(f"{name:16} {value:8,.0f} per CPU second")
    right = suite()
    for name, (hits, count) in right.items():
        print(f"{name:24} {hits} of {count}")
    share = sum(hits for hits, _ in right.values()) / sum(count for _, count in right.values())
    slowest = min(value for name, value in rates.items() if not name.endswith("none"))
    result = {
        "name": "extract_answers",
        "unit": "responses per CPU second",
        "ours": round(slowest),
        "peers": {},
        "ratio": None,
        "goal": 5000,
        "reached": bool(slowest >= 5000 and share >= 0.97),
        "nothing_to_find": round(min(rates.values())),
        "labelled_right": round(share, 4),
        "labelled_cases": sum(count for _, count in right.values()),
        "labelled_goal": 0.97,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
