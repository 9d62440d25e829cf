"""Tokens per second at a real server (xllamacpp with SmolLM2), beside a load generator that keeps the same slots full.

Both send the same requests and keep the same number in flight at the same server; ours is the stage `generate`, the
generator a bare aiohttp loop, each in a process of its own. Rounds are interleaved, the order within a round turns;
tokens per second from the first request to the last answer (so that no start-up counts), the median of the rounds'
ratios, so that a machine that is slow for minutes slows both sides of a ratio. Goal: 98 %.
Where other programs use the cores the seconds say little. Two figures beside them hardly move with the machine: how
full the slots were kept (seconds that requests were in flight, over slots times seconds), all that a client can do
for a server, and the CPU seconds of the server for 1,000 tokens.

Beside it, what an order of prompts is worth to the server's prefix cache: short documents under a few long rubrics, as
they come (the rubrics in turns), and in `generate.order: prefix`. Few new tokens; told as CPU seconds of the server and
as seconds, without a goal.

Run: python benchmarks/real_server.py [--prompts 48] [--tokens 48] [--rounds 5] [--slots 4]
     python benchmarks/real_server.py --vllm FOLDER --python INTERPRETER     real vLLM, throughput only (make test-vllm)
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import islice
from pathlib import Path

import yaml

from load.measured import ours, run, select
from promptmill.endpoints import serve
from promptmill.generate.index import read_outcomes
from promptmill.io.jsonl import iter_jsonl

ROOT = Path(__file__).parents[1]
SAMPLING = {"temperature": 0.0, "top_p": 1.0, "seed": 1}
GENERATOR = Path(__file__).parent / "load" / "generator.py"
GOAL = 0.98
VLLM_ARGS = ["--dtype", "bfloat16", "--max-num-seqs", "32", "--max-num-batched-tokens", "16384", "--enforce-eager"]
VLLM_SETTINGS = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "TOKENIZERS_PARALLELISM": "false"}


def recipe(running, source, tokens, **generate):
    """Ask one server by the OpenAI protocol."""
    asked = {"model": running.model, "endpoints": [{"kind": "openai", "base_url": running.url}]}
    asked |= {"sampling": {**SAMPLING, "max_tokens": tokens}, **generate}
    return {
        "workflow": "lengths", "source": {"path": str(source)}, "select": [], "generate": asked,
        "slices": {"tokenizer": "smollm2"},
    }  # fmt: skip


def ask(work, running, texts, tokens, **generate):
    """Tokens and seconds of a run of ours, and the seconds of its requests."""
    source, file, out = work / "prompts.json", work / "recipe.yaml", work / "run"
    shutil.rmtree(out, ignore_errors=True)
    source.write_text(json.dumps({"prompts": texts}))
    file.write_text(yaml.safe_dump(recipe(running, source, tokens, **generate)))
    select(file, out)
    run(ours(file, out))
    # the heartbeat of the last moment says how long was asked; start-up and the checks before are not the client's pace
    facts = json.loads((out / "asked.json").read_bytes())
    made = [outcome for part in sorted((out / "generate").glob("part-*.jsonl")) for outcome in read_outcomes(part)]
    tokens = sum(outcome.usage.completion_tokens for outcome in made)
    return tokens, facts["elapsed_s"], sum(outcome.latency_s for outcome in made)


def generate(work, running, texts, given):
    """Tokens and seconds of the bare loop, and the seconds of its requests, which are those of ours."""
    source = work / "prompts.json"
    source.write_text(json.dumps({"prompts": texts}))
    body = {"model": running.model, **SAMPLING, "max_tokens": given.tokens, "return_token_ids": True}
    argv = [sys.executable, str(GENERATOR), running.url, str(source), json.dumps(body), str(given.slots)]
    return json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=900).stdout)


def cpu_s(pid):
    """CPU seconds so far of a server: all processes of its group, which it leads, all their threads."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            ticks += (int(fields[11]) + int(fields[12])) * (int(fields[2]) == pid)
    return ticks / os.sysconf("SC_CLK_TCK")


def shared_prefixes(documents, rubrics=4):
    """Short documents under long rubrics that come in turns."""
    rules = [
        f"Rubric {n}. You judge a short text. "
        + " ".join(f"Rule {rule} of rubric {n}: give {rule % 7} points when it is clear." for rule in range(35))
        for n in range(rubrics)
    ]
    return [f"{rules[n % rubrics]}\n\nText: {text[:160]}\nPoints:" for n, text in enumerate(documents)]


def throughput(server, texts, given):
    """Of every round of each: tokens per second, how full the slots were, CPU seconds of the server for 1,000."""
    rates, full, costs = ({"ours": [], "generator": []} for _ in range(3))
    with tempfile.TemporaryDirectory() as folder, serve.running(server, wait_s=420) as running:
        generate(Path(folder), running, texts[: given.slots], given)
        for number in range(given.rounds):
            for name in sorted(rates, reverse=bool(number % 2)):
                before = cpu_s(running.pid)
                if name == "ours":
                    tokens, seconds, held = ask(Path(folder), running, texts, given.tokens, concurrency=given.slots)
                else:
                    tokens, seconds, held = generate(Path(folder), running, texts, given)
                rates[name].append(tokens / seconds)
                full[name].append(held / seconds / given.slots)
                costs[name].append((cpu_s(running.pid) - before) / tokens * 1000)
                said = f"{tokens} tokens, {seconds:.1f} s, {rates[name][-1]:.1f}/s, slots {full[name][-1]:.1%} full"
                print(f"round {number}: {name}: {said}, {costs[name][-1]:.1f} CPU s for 1000", flush=True)
    return rates, full, costs


def orders(server, questions, given):
    """What the order of prompts costs the server: seconds and CPU seconds of each."""
    found, order_cpu = ({"source": [], "prefix": []} for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.order_rounds):
            for order, seconds_of in found.items():
                # llama.cpp keeps the states of earlier prompts in memory; a server that cannot keep them all has none
                with serve.running({**server, "slots": 1, "context": 2048, "prompt_cache_mib": 0}) as running:
                    shared = shared_prefixes(questions[: given.documents])
                    before = cpu_s(running.pid)
                    _, seconds, _ = ask(Path(folder), running, shared, 4, concurrency=1, order=order)
                    seconds_of.append(seconds)
                    order_cpu[order].append(cpu_s(running.pid) - before)
                    print(f"order {order}: {seconds:.1f} s, {order_cpu[order][-1]:.1f} CPU s", flush=True)
    gain = min(order_cpu["source"]) / min(order_cpu["prefix"])
    return {
        "order_s": {name: round(min(each), 1) for name, each in found.items()},
        "order_cpu_s": {name: round(min(each), 1) for name, each in order_cpu.items()},
        "order_gain": round(gain, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--order-rounds", type=int, default=1)
    parser.add_argument("--vllm", metavar="FOLDER")
    parser.add_argument("--python", metavar="INTERPRETER")
    given = parser.parse_args()
    questions = [turn for row in iter_jsonl(ROOT / "examples" / "mt_bench_question.jsonl") for turn in row["turns"]]
    texts = list(islice((text for text in questions if len(text) < 400), given.prompts))
    server = {"kind": "llama.cpp", "model": "smollm2", "threads": 1, "slots": given.slots, "context": 2048}
    if given.vllm:
        server = {"kind": "vllm", "model": given.vllm, "python": given.python, "max_model_len": 2048}
        server |= {"extra_args": VLLM_ARGS, "env": VLLM_SETTINGS}
    rates, full, costs = throughput(server, texts, given)
    medians = {name: statistics.median(each) for name, each in rates.items()}
    ratio = statistics.median(ours / other for ours, other in zip(rates["ours"], rates["generator"], strict=True))
    name = "real_server_vllm" if given.vllm else "real_server"
    result = {"name": name, "unit": "tokens per second", "ours": round(medians["ours"], 1)}
    result |= {"peers": {"generator": round(medians["generator"], 1)}, "ratio": round(ratio, 3), "goal": GOAL}
    result |= {"rounds": {name: [round(rate, 1) for rate in each] for name, each in rates.items()}}
    result |= {"slots_full": {name: round(statistics.median(each), 3) for name, each in full.items()}}
    result |= {"server_cpu_s_for_1000": {name: round(statistics.median(each), 2) for name, each in costs.items()}}
    if given.order_rounds and not given.vllm:
        result |= orders(server, questions, given)
    print(json.dumps(result | {"reached": ratio >= GOAL}))


if __name__ == "__main__":
    main()
