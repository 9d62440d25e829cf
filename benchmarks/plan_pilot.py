"""`plan --pilot 20` against what the run then really uses: tokens and money, on three recipes with the real LLM.

The recipes differ in what makes an estimate hard: answers of every length that end by themselves or at a limit
(MT-Bench), several samples of one prompt (GSM8K), long prompts of every size with short answers (rating documents).
There is no peer: no tool of this field estimates. The goal is an error of at most 20 % in each.

    python benchmarks/plan_pilot.py [--pilot 20] [--rows 60] [--max-tokens 128]
"""

import argparse
import json
import tempfile
from pathlib import Path

from load.needs import data
from promptmill import config
from promptmill.endpoints import serve
from promptmill.io.jsonl import iter_jsonl
from promptmill.run import open_run
from promptmill.workflows import asking, lengths, planning
from promptmill.workflows.stages import Silent

ROOT = Path(__file__).parents[1]
RUBRIC = (
    "Rate how much a pupil can learn from the text below. Give 1 for nothing, 2 for a little, 3 for some, 4 for much "
    "and 5 for very much; say in one sentence why, then write 'Score: N'.\n\nText:\n{prompt}"
)


def prompts_of(rows):
    """Name -> prompts, samples, limit and template of each recipe."""
    mt_bench = [row["turns"][0] for row in read(ROOT / "examples" / "mt_bench_question.jsonl")]
    gsm8k = [row["question"] for row in read(data("gsm8k", "test.jsonl"))]
    texts = [row["text"][:3000] for row in read(data("quality", "511_en.jsonl"))]
    return {
        "mt_bench": {"prompts": mt_bench[:rows], "k": 1, "template": None, "share": 1.0},
        "gsm8k": {"prompts": gsm8k[: rows * 2 // 3], "k": 2, "template": None, "share": 1.0},
        "rate_documents": {"prompts": texts[:rows], "k": 1, "template": RUBRIC, "share": 0.5},
    }


def read(path):
    return list(iter_jsonl(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pilot", type=int, default=20)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    server = {"kind": "llama.cpp", "model": "smollm2", "threads": given.threads, "slots": 8, "context": 2048}
    found = {}
    with tempfile.TemporaryDirectory(prefix="promptmill-plan-") as work, serve.running(server) as running:
        for name, wanted in prompts_of(given.rows).items():
            found[name] = measure(name, wanted, running, work=Path(work), given=given)
            print(name, json.dumps(found[name]), flush=True)
    worst = max(abs(each[what]["error"]) for each in found.values() for what in ("tokens", "cost"))
    print(json.dumps({
        "name": "plan_pilot", "unit": "largest error of an estimate, tokens or money", "ours": round(worst, 3),
        "peers": {}, "ratio": None, "goal": 0.2, "reached": worst <= 0.2, "recipes": found, "pilot": given.pilot,
    }))  # fmt: skip


def measure(name, wanted, running, *, work, given):
    (work / f"{name}.json").write_text(json.dumps({"prompts": wanted["prompts"]}))
    tree = {
        "source": {"kind": "prompts", "path": str(work / f"{name}.json")},
        "generate": {
            "model": running.model,
            "k": wanted["k"],
            "template": wanted["template"],
            "endpoints": [{"kind": "llamacpp", "base_url": running.url, "price_in": "0.15/1M", "price_out": "0.60/1M"}],
            "sampling": {"max_tokens": int(given.max_tokens * wanted["share"])},
        },
        "slices": {"tokenizer": "smollm2"},
    }
    recipe = config.check(config.Document(tree, {}, name), lengths.Lengths)
    asked = asking.asking(recipe.generate, None)
    out = work / name
    planning.run_pilot(recipe, asked, out, count=given.pilot, reporter=Silent())
    plan = planning.make_plan(recipe, asked, out)
    before = charged(out, asked)
    lengths.run(recipe, out, only=("prompts", "generate"), reporter=Silent())
    after = charged(out, asked)
    estimate = plan.estimate
    said = {
        "tokens": before[0] + estimate.prompt_tokens.mid + estimate.new_tokens.mid,
        "cost": before[1] + estimate.cost.mid,
    }
    return {
        what: {
            "estimate": round(said[what], 6),
            "final": round(after[at], 6),
            "error": round(said[what] / after[at] - 1, 3),
        }
        for at, what in enumerate(("tokens", "cost"))
    }


def charged(out, asked):
    """Tokens and money of all answers of a run."""
    with open_run(out, workflow="lengths", seeds={}) as run:
        run.recall("prompts")
        found = asking.count_open(asked, asking.parts_of(run, asked))
    return found.tokens, found.cost


if __name__ == "__main__":
    main()
