"""Where extraction and verdicts differ from what others recorded, row by row: counts, and a list by row number.

Three files of the shared data (PROMPTMILL_DATA, default ../shared/data): two logs of GPT-3 with the recorded prediction
and the gold answer, and responses of Qwen3-8B with recorded verdicts. Their rows may not be copied, so the lists hold
numbers of rows and single values. Writes design/disagreements.md.

Run: python benchmarks/disagreements.py
"""

import json
import re
from collections import Counter
from pathlib import Path

from load.needs import data
from promptmill.derive.answers import answer
from promptmill.evaluate.choose import auto
from promptmill.evaluate.numbers import equal_numbers, read_number
from promptmill.records import Reference

ROOT = Path(__file__).parents[1]
DATA = data("graded")
TARGET = ROOT / "design" / "disagreements.md"


def logged(name):
    """The records of a log: question, response, recorded prediction, gold answer."""
    text = (DATA / name).read_text(encoding="utf-8")
    for record in re.split(r"^\d+st data\n", text, flags=re.MULTILINE)[1:]:
        body, _, rest = record.partition("\npred_before : ")
        question, _, response = body.partition("\nA: ")
        prediction = re.search(r"^pred_mode : (.*)$", rest, re.MULTILINE)
        gold = re.search(r"^GT : (.*)$", rest, re.MULTILINE)
        yield question.partition("Q: ")[2], response, prediction[1].strip(), gold[1].strip()


def choices(question):
    return tuple(text.strip() for text in re.split(r"\s?\([A-E]\) ", question.split("Answer Choices: ")[1])[1:])


def same(one, other):
    """Whether two texts are one number."""
    first, second = read_number(one or ""), read_number(other or "")
    return first is not None and second is not None and equal_numbers(first, second)


def table(rows):
    lines = ["| row | recorded | read here | gold | right |", "|---|---|---|---|---|"]
    cells = [[str(cell).replace("|", "/")[:40] or "(nothing)" for cell in row] for row in rows]
    return lines + [f"| {' | '.join(row)} |" for row in cells]


def of_log(name, title, reference_of, equal):
    """One log: how many are right, and where the two readings differ."""
    extract, counts, rows = answer(), Counter(), []
    for number, (question, response, prediction, gold) in enumerate(logged(name), 1):
        found = extract(response, reference_of(question, gold))
        said = found.text if found else ""
        ours, recorded = equal(said, gold), equal(prediction, gold)
        counts["ours"] += ours
        counts["recorded"] += recorded
        if said != prediction and not equal(said, prediction):
            who = "both" if ours and recorded else "here" if ours else "recorded" if recorded else "neither"
            rows.append((number, prediction, said, gold, who))
    said = f"Right: {counts['ours']} as read here, {counts['recorded']} as recorded; {len(rows)} differ."
    print(f"{name}: {said}")
    return counts, [f"## {title}", "", said, "", *table(rows), ""]


def of_graded():
    """Rows that math-verify had decided: where the verdict is another one."""
    extract, judge, rows, total = answer(), auto(), [], 0
    for path in sorted(DATA.glob("*qwen3-8b*.jsonl")):
        for line in path.read_text(encoding="utf-8").split("\n"):
            row = json.loads(line) if line else {"responses": []}
            for sample, response in enumerate(row["responses"]):
                if response["extraction_method"] != "math_verify":
                    continue
                total += 1
                reference = Reference(answer=row["answer_correct"])
                found = extract(response["full_response"], reference)
                value = judge(reference, found.text).value if found else 0.0
                if value is None or bool(value) != response["is_correct"]:
                    place = f"{path.name.partition('_')[0]} {row['unique_id']}, sample {sample}"
                    recorded = f"{response['is_correct']}: {response['extracted_answer']}"
                    here = f"{value}: {found and found.text}"
                    rows.append((place, recorded, here, row["answer_correct"], "see below"))
    judge.close()
    said = f"{total - len(rows)} of {total} verdicts of math-verify are the same."
    print(f"graded: {said}")
    return ["## Qwen3-8B, rows that math-verify decided", "", said, "", *table(rows), ""]


def main():
    lines = [
        "# Where readings differ from what was recorded",
        "",
        "Written by `benchmarks/disagreements.py`. What kinds they are: [extraction](../docs/extraction.md#measured),",
        "[verification](../docs/verification.md).",
        "",
        *of_graded(),
        "In both, the recorded verdict took a part for the whole: `3` for `3+2\\sqrt{2}`, a year for a date.",
        "",
    ]
    counts, found = of_log(
        "gpt3_gsm8k_zero_shot_cot.log", "GPT-3 on GSM8K", lambda _, gold: Reference(answer=gold), same
    )
    more, others = of_log(
        "gpt3_commonsenseqa_zero_shot_cot.log",
        "GPT-3 on CommonsenseQA",
        lambda question, _: Reference(choices=choices(question)),
        lambda one, other: one == other,
    )
    TARGET.write_text("\n".join([*lines, *found, *others]).rstrip() + "\n", encoding="utf-8")
    pairs = [(counts["ours"], counts["recorded"]), (more["ours"], more["recorded"])]
    ours, recorded = (sum(column) for column in zip(*pairs, strict=True))
    result = {"name": "disagreements", "unit": "right answers in two logs of GPT-3", "ours": ours}
    result |= {"peers": {"recorded": recorded}, "ratio": round(ours / recorded, 3)}
    result |= {"goal": "each log at least as recorded", "reached": all(one >= other for one, other in pairs)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
