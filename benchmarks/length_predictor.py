"""Claim: the length predictor beats three baselines on real answers, and a queue that asks it beats FCFS.

Rows: the recorded answers of three models to 478 real prompts (local data, never committed), cut every 50 tokens from
0 on, with a known end. The three are pooled, as in a queue that serves them all, and the predictor is not told which
model speaks; --apart trains one predictor for each. Tokens are those of the MiniLM tokenizer for every model alike: the
recorded answers carry no ids, and the models' own tokenizers are in no package. Equal prompts under different ids are
one prompt. 60 % of the prompts train, 15 % choose the epoch, 25 % are the test; the split hangs on the prompt's text.

The peers are the three baselines and, with --published, the predictor in the published form to the letter.

    python benchmarks/length_predictor.py [--quick] [--published] [--apart] [--models NAME ...] [--cache DIR]
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from load.needs import data
from promptmill.encode import PACKAGED, Stored, transformers
from promptmill.io.jsonl import iter_jsonl
from promptmill.records import content_id
from promptmill.report import plot_lengths, plot_simulation
from promptmill.train.lengths import PUBLISHED, LengthRow, TrainOptions, by_split, jobs_of, train
from promptmill.train.predictor import load_predictor
from promptmill.train.simulate import SimulateOptions, compare

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("vicuna-7b-v1.5", "gpt-3.5-turbo", "Llama-2-70b-chat")
SHARES = (0.6, 0.15, 0.25)
STEP = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="80 prompts, 3 epochs: does it run?")
    parser.add_argument("--published", action="store_true", help="also train the published form, as a peer")
    parser.add_argument("--apart", action="store_true", help="one predictor for each model instead of one for all")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument(
        "--cache", type=Path, help="keep vectors, predictors and plots here; default: a temporary folder"
    )
    given = parser.parse_args()
    chats = data("chat")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.cache or Path(temporary)
        groups = [[model] for model in given.models] if given.apart else [given.models]
        figures = {"+".join(group): run(group, chats, folder, given) for group in groups}
    main_figures = next(iter(figures.values()))
    print(json.dumps({"all": figures}))
    ours = main_figures["mae"]["predictor"][0]
    peers = {name: value[0] for name, value in main_figures["mae"].items() if name != "predictor"}
    best_baseline = min(peers[name] for name in ("mean", "prompt_length", "tokens_so_far"))
    reached = all(
        f["mae_gains"][name][1] > 0 for f in figures.values() for name in ("mean", "prompt_length", "tokens_so_far")
    ) and all(f["mean_gain"]["predicted"][1] > 0 for f in figures.values())
    print(
        json.dumps(
            {
                "name": "length_predictor",
                "unit": f"MAE in tokens, {next(iter(figures))}",
                "ours": ours,
                "peers": peers,
                "ratio": round(ours / best_baseline, 3),
                "goal": "MAE gain over every baseline and simulated mean time gain over FCFS: 95 % intervals above 0",
                "reached": reached,
            }
        )
    )


def run(models: list[str], data: Path, folder: Path, given: argparse.Namespace) -> dict[str, object]:
    began = time.monotonic()
    rows = [
        msgspec.structs.replace(row, sample=row.sample * len(models) + number)
        for number, model in enumerate(models)
        for row in slices(model, data)
    ]
    if given.quick:
        kept = set(sorted({row.prompt_id for row in rows})[:80])
        rows = [row for row in rows if row.prompt_id in kept]
    encoder = Stored(transformers(threads=2), folder / "vectors")
    options = TrainOptions(shares=SHARES)
    if given.quick:
        options = msgspec.structs.replace(options, epochs=3, width=256)
    out = folder / "+".join(models)
    report = train(rows, encoder, options, out)
    trained_s = time.monotonic() - began
    test = report.test
    mae = {"predictor": triple(test.predictor.mae), **{k: triple(v.mae) for k, v in test.baselines.items()}}
    if given.published:
        form = msgspec.structs.replace(PUBLISHED, shares=SHARES, epochs=options.epochs)
        mae["published_form"] = triple(train(rows, encoder, form, folder / "published").test.predictor.mae)
    simulation = compare(
        *jobs_of(by_split(rows, options)["test"], load_predictor(out, encoder=encoder), window=STEP),
        SimulateOptions(window=STEP, repeats=5 if given.quick else 20),
    )
    (out / "simulation.json").write_bytes(msgspec.json.encode(simulation))
    plot_lengths(msgspec.to_builtins(report), out / "report.png")
    plot_simulation(msgspec.to_builtins(simulation), out / "simulation.png")
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    r2 = test.predictor.r2
    return {
        "rows": report.rows,
        "prompts": report.prompts,
        "best_epoch": report.best_epoch,
        "mae": mae,
        "mae_gains": {name: triple(gain) for name, gain in test.mae_gains.items()},
        "rmse": triple(test.predictor.rmse),
        "r2": triple(r2) if r2 else None,
        "mean_s": {name: triple(times.mean_s) for name, times in simulation.policies.items()},
        "p99_s": {name: triple(times.p99_s) for name, times in simulation.policies.items()},
        "mean_gain": {name: triple(times.mean_gain, 3) for name, times in simulation.policies.items()},
        "p99_gain": {name: triple(times.p99_gain, 3) for name, times in simulation.policies.items()},
        "vectors_computed": encoder.computed,
        "seconds_to_train": round(trained_s, 1),
        "cpu_seconds_so_far": round(sum(u.ru_utime + u.ru_stime for u in usage), 1),
    }


def slices(model: str, data: Path) -> list[LengthRow]:
    """Rows at 0, 50, 100 ... tokens and at the end of every answer."""
    from importlib.util import find_spec

    from tokenizers import Tokenizer

    package = find_spec(PACKAGED["minilm"][1]).submodule_search_locations[0]
    tokenizer = Tokenizer.from_file(str(Path(package) / PACKAGED["minilm"][2] / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    prompts = {row["question_id"]: text_of(row) for row in iter_jsonl(data / "arena_hard_question.jsonl", dict)}
    rows, samples = [], {}
    for row in iter_jsonl(data / "model_answer" / f"{model}.jsonl", dict):
        prompt, answer = prompts[row["question_id"]], text_of(row["choices"][0])
        prompt_id = content_id(prompt)
        sample = samples[prompt_id] = samples.get(prompt_id, -1) + 1
        offsets = tokenizer.encode(answer, add_special_tokens=False).offsets
        n = len(offsets)
        rows += [
            LengthRow(
                prompt_id=prompt_id,
                sample=sample,
                input_prompt=prompt,
                output_prompt=answer[: offsets[at - 1][1]] if at else "",
                n_tokens=at,
                remaining=n - at,
            )
            for at in [*range(0, n, STEP), *([n] if n else [])]
        ]
    return rows


def text_of(row: dict) -> str:
    turn = row["turns"][0]
    return turn["content"] if isinstance(turn, dict) else turn


def triple(value, digits: int = 1) -> list[float]:
    return [round(float(x), digits) for x in (value.value, value.low, value.high)]


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
