"""Metric `code` with extractor `code` on real problems: every shape of the reference passes, altered ones fail."""

import json
import re
import runpy
from pathlib import Path

import pytest

from promptmill.errors import ConfigError
from promptmill.records import Reference, Verdict
from promptmill.registry import HasClose, build
from promptmill.sources.problems import problems

DATA = Path(__file__).parents[2] / "data"
SHAPES = runpy.run_path(str(DATA / "shapes.py"))
HUMANEVAL, MBPP = DATA / "humaneval_excerpt.jsonl", DATA / "mbpp_excerpt.jsonl"
OBJECTS = {"367", "601", "927"}  # their tests hand over objects of the program's own classes


@pytest.fixture(scope="module")
def judge():
    try:
        metric = build("metrics", {"kind": "code", "timeout_s": 120.0, "workers": 2})
    except ConfigError as error:
        pytest.skip(str(error))
    yield metric
    metric.close()


def rows(path):
    with path.open() as file:
        found = [json.loads(line) for line in file]
    return [(row, prompt) for row, prompt in zip(found, problems(path=str(path)), strict=True)]


@pytest.mark.parametrize(("row", "prompt"), [pytest.param(*each, id=each[1].id) for each in rows(HUMANEVAL)])
def test_a_solution_of_humaneval_passes_in_every_shape_and_fails_when_altered(judge, row, prompt):
    extract = build("extractors", {"kind": "code"})
    whole = row["prompt"] + row["canonical_solution"]
    answers = SHAPES["of_body"](row["canonical_solution"]) | SHAPES["of_function"](whole)
    answers["function without its prompt"] = row["declaration"] + row["canonical_solution"]
    for shape, text in answers.items():
        answer = extract(text, prompt.reference)
        assert (shape, judge(prompt.reference, answer.text)) == (shape, Verdict(value=1.0, method="code: full"))
        start, end = answer.span
        assert text[start:end].strip()
    other = SHAPES["altered"](whole, [prompt.reference.entry_point])
    assert judge(prompt.reference, other).value == 0.0


@pytest.mark.parametrize(("row", "prompt"), [pytest.param(*each, id=each[1].id) for each in rows(MBPP)])
def test_a_program_of_mbpp_passes_in_every_shape_and_fails_when_altered(judge, row, prompt):
    extract = build("extractors", {"kind": "code"})
    method = "code: full, together" if prompt.id in OBJECTS else "code: full"
    for shape, text in SHAPES["of_function"](row["code"]).items():
        answer = extract(text, prompt.reference)
        assert (shape, judge(prompt.reference, answer.text)) == (shape, Verdict(value=1.0, method=method))
    names = set(re.findall(r"(\w+) ?\(", " ".join(row["test_list"]))) - {"Pair", "set", "getsizeof"}
    assert judge(prompt.reference, SHAPES["altered"](row["code"], names)).value == 0.0


def test_a_reference_without_tests_gives_no_verdict(judge):
    assert judge(Reference(answer="4"), "print(4)") == Verdict(
        value=None, method="code: full", detail="the reference has no tests"
    )


def test_the_level_stands_in_the_verdict():
    metric = build("metrics", {"kind": "code", "sandbox": "rlimits-only", "timeout_s": 120.0})
    assert isinstance(metric, HasClose)
    verdict = metric(Reference(tests=("assert f() == 1",)), "def f():\n    return 2")
    assert verdict == Verdict(value=0.0, method="code: rlimits-only", detail="test 1 of 1: AssertionError (line 1)")
    metric.close()


def test_too_little_time_or_memory_is_refused():
    with pytest.raises(ConfigError, match=r"metric code: timeout_s 0, memory_mib 512, .* one of them is too small"):
        build("metrics", {"kind": "code", "timeout_s": 0.0})
    with pytest.raises(ConfigError, match="memory_mib 10"):
        build("metrics", {"kind": "code", "memory_mib": 10})
