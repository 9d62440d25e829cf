"""The `lengths` workflow, through the command line, against a real vLLM."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from promptmill.generate.index import read_outcomes

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]


def mill(folder, *words):
    command = [sys.executable, "-m", "promptmill", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


def rows(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@pytest.fixture(scope="module")
def made(vllm_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lengths")
    words = ["lengths", "run", "--input", ROOT / "examples" / "mt_bench_question.jsonl", "--out", "run", "--limit", 24,
             "--server-url", vllm_server.url, "--model", vllm_server.model, "--max-tokens", 300, "--generate.k", 2,
             "--tokenizer-path", "smollm2", "--slices.split_files", "true",
             "--set", "select=[{kind: turns, take: first}]"]  # fmt: skip
    done = mill(folder, *words)
    assert done.returncode == 0, done.stderr
    return folder / "run", done, mill(folder, *words)


def test_every_answer_carries_the_ids_that_vllm_reported(made):
    run, _, _ = made
    outcomes = [o for path in (run / "generate").glob("part-*.jsonl") for o in read_outcomes(path)]
    assert len(outcomes) == 48
    assert all(len(o.token_ids) == o.usage.completion_tokens for o in outcomes)
    assert {o.finish for o in outcomes} == {"stop", "length"}


def test_every_row_is_a_prefix_whose_counts_add_up_and_the_last_is_whole(made):
    run, _, _ = made
    outcomes = {
        (o.prompt_id, o.sample): o for path in (run / "generate").glob("part-*.jsonl") for o in read_outcomes(path)
    }
    exports = run / "exports"
    named = [
        row
        for name in ("train", "validation", "test")
        for row in rows(exports / "vllm_results_splits" / f"{name}.jsonl")
    ]
    named += rows(exports / "vllm_results_censored.jsonl")
    last = {}
    for row in named:
        answer = outcomes[row["prompt_id"], row["sample"]]
        left = row.get("remaining_tokens", row.get("remaining_tokens_at_least"))
        assert answer.text.startswith(row["output_prompt"])
        assert row["number_of_output_tokens"] + left == len(answer.token_ids)
        assert ("remaining_tokens" in row) == (answer.finish == "stop")
        last[row["prompt_id"], row["sample"]] = row
    assert last.keys() == outcomes.keys()
    assert all(row["output_prompt"] == outcomes[key].text for key, row in last.items())
    counts = json.loads((exports / "vllm_results_training.meta.json").read_text())["counts"]
    assert (counts["server_ids"], counts["ids_not_matching"], counts["usage_differs"]) == (48, 0, 0)


def test_two_samples_of_a_prompt_differ_and_a_second_run_sends_nothing(made):
    run, _, again = made
    texts = {}
    for path in (run / "generate").glob("part-*.jsonl"):
        for outcome in read_outcomes(path):
            texts.setdefault(outcome.prompt_id, set()).add(outcome.text)
    assert sum(len(found) == 2 for found in texts.values()) >= 20
    assert "all 48 requests are answered from the run folder" in again.stderr
