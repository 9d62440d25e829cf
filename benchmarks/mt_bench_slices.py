"""80 MT-Bench questions through the real LLM: every slice row is held against what the server generated.

Four properties, over all rows, training and censored: the prefix is a prefix of the answer; tokens so far and tokens
left add up to the answer's length; the last row is the whole answer; the counts are those of the ids the server
reported. The fourth is checked by the server itself: `/detokenize` of the first n ids must give the row's text (cut
back to a whole character). There is no peer: the goal is no row that fails.

    python benchmarks/mt_bench_slices.py [--questions N] [--max-tokens N] [--threads N]
"""

import argparse
import json
import tempfile
import time
import urllib.request
from collections import defaultdict
from itertools import islice
from pathlib import Path

from promptmill import config
from promptmill.endpoints import serve
from promptmill.generate.index import read_outcomes
from promptmill.workflows import lengths
from promptmill.workflows.stages import Silent

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=80)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    server = {"kind": "llama.cpp", "model": "smollm2", "threads": given.threads, "slots": 16, "context": 2048}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, serve.running(server) as running:
        recipe = {
            "source": {"kind": "prompts", "path": str(ROOT / "examples" / "mt_bench_question.jsonl")},
            "select": [{"kind": "turns", "take": "first"}],
            "generate": {
                "model": running.model,
                "endpoints": [{"kind": "llamacpp", "base_url": running.url}],
                "sampling": {"max_tokens": given.max_tokens},
            },
            "slices": {"tokenizer": "smollm2"},
        }
        out = Path(folder) / "run"
        checked = config.check(config.Document(recipe, {}, "benchmark"), lengths.Lengths)
        lengths.run(checked, out, limit=given.questions, reporter=Silent())
        seconds = time.monotonic() - began
        rows, failed, ended = check(out, running.url)
    print(f"{rows} rows of {given.questions} answers ({ended} ended by themselves), {seconds:.0f} s")
    for line in failed[:20]:
        print("FAILED", line)
    result = {"name": "mt_bench_slices", "unit": "rows that break a property", "ours": len(failed), "peers": {},
              "ratio": None, "goal": 0, "reached": not failed and rows > 0, "rows": rows}  # fmt: skip
    print(json.dumps(result))


def check(out: Path, url: str) -> tuple[int, list[str], int]:
    answers = {o.prompt_id: o for path in sorted((out / "generate").glob("part-*.jsonl")) for o in read_outcomes(path)}
    rows = defaultdict(list)
    training = iter(lines(out, "vllm_results_training"))
    for entry in lines(out, "vllm_results_splits"):
        rows[entry["prompt_id"]] += islice(training, entry["rows"])
    for row in lines(out, "vllm_results_censored"):
        rows[row["prompt_id"]].append(row)
    failed = [f"{prompt}: no row at all" for prompt in answers if prompt not in rows]
    for prompt, slices in rows.items():
        answer = answers[prompt]
        total = len(answer.token_ids)
        for row in slices:
            n = row["number_of_output_tokens"]
            left = row.get("remaining_tokens", row.get("remaining_tokens_at_least"))
            problems = {
                "prefix": not answer.text.startswith(row["output_prompt"]),
                "sum": n + left != total or total != answer.usage.completion_tokens,
                "ids": row["output_prompt"] != whole(detokenize(url, answer.token_ids[:n])),
                "kind": ("remaining_tokens" in row) != (answer.finish == "stop"),
            }
            failed += [f"{prompt} at {n}: {name}" for name, bad in problems.items() if bad]
        last = slices[-1]
        if last["output_prompt"] != answer.text or last["number_of_output_tokens"] != total:
            failed.append(f"{prompt}: the last row is not the whole answer")
    return sum(map(len, rows.values())), failed, sum(answer.finish == "stop" for answer in answers.values())


def lines(out: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (out / "slices" / f"{name}.jsonl").read_bytes().splitlines()]


def detokenize(url: str, ids: tuple[int, ...]) -> str:
    body = json.dumps({"tokens": ids}).encode()
    request = urllib.request.Request(f"{url}/detokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)["content"]


def whole(text: str) -> str:
    """Without the end-of-text token and without the halves of a character that is not finished."""
    return text.removesuffix("<|im_end|>").removesuffix("<|endoftext|>").rstrip("\ufffd")


if __name__ == "__main__":
    main()
