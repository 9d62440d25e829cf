"""Slicing, writing included, beside the bare `tokenizers` library on the same texts and threads.

Two claims: at least 0.8 times the tokens per CPU second of `encode_batch`, and time per token at 16,000-token answers
at most 1.3 times that at 500. Texts are real model answers, joined and cut to length for the two sizes. Ours writes all
its files (training, splits, targets, counts) to disk. Both take turns in one process; ratios are of one round, and
their medians count.

Run: PROMPTMILL_DATA=../shared/data python benchmarks/slice_tokens.py [--rounds 5] [--threads 1]
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from load.needs import data
from promptmill.derive.slice_files import write_slices
from promptmill.derive.slices import SliceOptions
from promptmill.records import Completion, Prompt
from promptmill.tokens import load_tokenizer


def answers():
    """Every real answer, as text."""
    files = sorted(data("chat", "model_answer").glob("*.jsonl"))
    turns = [turn for file in files for line in file.open() for c in json.loads(line)["choices"] for turn in c["turns"]]
    return [turn if isinstance(turn, str) else turn["content"] for turn in turns]


def sized(ids, tokenizer, size):
    """The same text in answers of about `size` tokens."""
    pieces = tokenizer.pieces
    return [
        b"".join(pieces[i] for i in ids[at : at + size]).decode(errors="ignore")
        for at in range(0, len(ids) - size + 1, size)
    ]


def pairs(texts, tokens=None):
    return [
        (
            Prompt(id=f"p{n}", source="bench", text="Tell me more."),
            Completion(
                key="",
                prompt_id=f"p{n}",
                model="m",
                text=text,
                finish="stop",
                token_ids=tuple(tokens[n]) if tokens else None,
            ),
        )
        for n, text in enumerate(texts)
    ]


def cpu(work):
    """CPU and wall seconds of one call."""
    before, start = os.times(), time.perf_counter()
    work()
    after = os.times()
    return sum(after[:4]) - sum(before[:4]), time.perf_counter() - start


def grown(seconds, counts, who):
    """Time per token of long answers over short ones; both of one round, so that a busy machine slows both."""
    rounds = zip(seconds[who, "16000"][1:], seconds[who, "500"][1:], strict=True)
    return statistics.median(long[0] / counts["16000"] / (short[0] / counts["500"]) for long, short in rounds)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    tokenizer = load_tokenizer("smollm2", threads=given.threads)
    library = tokenizer._tokenizer  # noqa: SLF001 - the peer is the very same object
    real = answers()
    joined = [token for ids in tokenizer.encode(real) for token in ids]
    cases = {"real": real, "500": sized(joined, tokenizer, 500), "16000": sized(joined, tokenizer, 16_000)}
    counts = {name: sum(map(len, tokenizer.encode(texts))) for name, texts in cases.items()}
    encoded = {name: pairs(texts) for name, texts in cases.items()}
    known = {name: pairs(texts, tokenizer.encode(texts)) for name, texts in cases.items()}
    seconds = {(who, name): [] for who in ("peer", "ours", "ids") for name in cases}
    runs = Path(__file__).parents[1] / "runs"  # a real disk, and never committed
    runs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs) as folder:
        out = Path(folder)

        def ours(what):
            write_slices(what, tokenizer, SliceOptions(), out, stem="bench")

        for _ in range(given.rounds + 1):
            for name, texts in cases.items():
                seconds["peer", name].append(cpu(lambda t=texts: library.encode_batch(t, add_special_tokens=False)))
                seconds["ours", name].append(cpu(lambda n=name: ours(encoded[n])))
                seconds["ids", name].append(cpu(lambda n=name: ours(known[n])))
    rate, wall = {}, {}
    for key, found in seconds.items():  # the first round warms up
        rate[key] = counts[key[1]] / statistics.median(used for used, _ in found[1:])
        wall[key] = counts[key[1]] / statistics.median(passed for _, passed in found[1:])
    for name, texts in cases.items():
        print(
            f"{name:>6}: {len(texts):5} answers, {counts[name]:,} tokens; tokens per CPU second: "
            f"encode_batch {rate['peer', name]:,.0f}, ours {rate['ours', name]:,.0f} "
            f"({rate['ours', name] / rate['peer', name]:.2f}), ours with the server's ids {rate['ids', name]:,.0f}; "
            f"per second of wall time {wall['peer', name]:,.0f}, {wall['ours', name]:,.0f}, {wall['ids', name]:,.0f}"
        )
    growth, peer_growth = (grown(seconds, counts, who) for who in ("ours", "peer"))
    print(f"time per token at 16,000 over 500: ours {growth:.2f} (goal 1.3), encode_batch {peer_growth:.2f}")
    least = min(
        statistics.median(
            p[0] / o[0] for p, o in zip(seconds["peer", name][1:], seconds["ours", name][1:], strict=True)
        )
        for name in cases
    )
    result = {
        "name": "slice_tokens",
        "unit": "tokens per CPU second",
        "ours": round(rate["ours", "real"]),
        "peers": {"tokenizers encode_batch": round(rate["peer", "real"])},
        "ratio": round(least, 3),
        "goal": 0.8,
        "reached": bool(least >= 0.8 and growth <= 1.3),
        "growth_16000_over_500": round(growth, 3),
        "growth_goal": 1.3,
        "threads": given.threads,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
