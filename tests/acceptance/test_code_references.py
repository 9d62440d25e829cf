"""Every reference program of HumanEval and MBPP, in every shape of answer (PROMPTMILL_DATA, default ../shared/data)."""

import json
import os
import re
import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from promptmill.registry import build
from promptmill.sources.problems import problems

DATA = Path(os.environ.get("PROMPTMILL_DATA", Path(__file__).parents[3] / "shared" / "data"))
SHAPES = runpy.run_path(str(Path(__file__).parents[1] / "data" / "shapes.py"))
FILES = {"humaneval": DATA / "humaneval" / "humaneval-python.jsonl", "mbpp": DATA / "mbpp" / "mbpp.jsonl"}

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}; set PROMPTMILL_DATA"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def judge():
    metric = build("metrics", {"kind": "code", "timeout_s": 60.0, "workers": 2})
    yield metric
    metric.close()


def references(name):
    """Each row's prompt, whole program, and answers by shape."""
    with FILES[name].open() as file:
        rows = [json.loads(line) for line in file]
    for row, prompt in zip(rows, problems(path=str(FILES[name])), strict=True):
        body = row.get("canonical_solution")
        whole = row["code"] if body is None else row["prompt"] + body
        yield prompt, whole, SHAPES["of_function"](whole) | (SHAPES["of_body"](body) if body else {})


def verdicts(judge, jobs):
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda job: judge(*job), jobs))


@pytest.mark.parametrize(("name", "count"), [("humaneval", 164), ("mbpp", 974)])
def test_every_reference_passes_in_every_shape(judge, name, count):
    extract = build("extractors", {"kind": "code"})
    programs = {}  # many shapes give the same program: each is run once
    for prompt, _, answers in references(name):
        for shape, text in answers.items():
            answer = extract(text, prompt.reference)
            programs.setdefault((prompt.id, answer.text), (prompt.reference, shape))
    found = verdicts(judge, [(reference, text) for (_, text), (reference, _) in programs.items()])
    wrong = [
        (key[0], shape, verdict.detail)
        for (key, (_, shape)), verdict in zip(programs.items(), found, strict=True)
        if verdict.value != 1.0
    ]
    assert wrong == []
    assert len({key[0] for key in programs}) == count


@pytest.mark.parametrize("name", FILES)
def test_every_reference_fails_when_what_it_returns_is_altered(judge, name):
    jobs = []
    for prompt, whole, _ in references(name):
        entry = prompt.reference.entry_point
        names = [entry] if entry else called(prompt.reference.tests, whole)
        jobs.append((prompt.reference, SHAPES["altered"](whole, names)))
    passed = [job[1][:60] for job, verdict in zip(jobs, verdicts(judge, jobs), strict=True) if verdict.value != 0.0]
    assert passed == []


def called(tests, program):
    """What the asserts of MBPP call of the program."""
    return set(re.findall(r"(\w+)\s*\(", " ".join(tests))) & set(re.findall(r"^def (\w+)", program, re.MULTILINE))
