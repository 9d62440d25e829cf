"""Selection from a million conversations, beside one hand-written DuckDB statement that does the same.

The claim: at most 1.5 times the CPU seconds of the statement, less than 1 GB of memory, and the same rows whether the
conversations lie in 1 file or in 8. The rows are synthetic, made of real questions and answers in the schema of
LMSYS-Chat-1M (about 0.8 GB), the same on every machine. Each run is a process of its own that reads the files, selects
(English, a sample of 11,000, first user turn, exact duplicates, length outliers) and writes the kept rows. Ours writes
whole records and counts every dropped row by reason; the statement writes id and text.

The statement cannot compute our sampling hash, so it orders by md5 of seed and id: with the sample on, the two choose
different prompts, and only the number of rows after each has sampled is compared. With the sample off (a second table,
printed and not part of the claim) the ids must be the same, one by one.

Run: PROMPTMILL_DATA=../shared/data python benchmarks/select_rows.py [--rows 1000000] [--rounds 3] [--folder DIR]
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from load.needs import data

SHARDS, GOAL, MEMORY_MB = 8, 1.5, 1000
WHITE = "".join(c for c in map(chr, range(0x3001)) if c.isspace())  # what Python strips; DuckDB by itself only spaces
STATEMENT = """
copy (
with rows as (
  select conversation_id as id, conversation, row_number() over () as pos
  from read_json('{files}', format = 'newline_delimited', columns = {{conversation_id: 'varchar', language: 'varchar',
    conversation: 'struct(role varchar, content varchar)[]'}})
  where language = 'English'),
sampled as (select * from rows {sample}),
firsts as (
  select id, pos,
    list_filter(conversation, lambda m: m.role = 'user' and trim(m.content, '{white}') <> '')[1].content as prompt
  from sampled),
kept as (
  select min(pos) as pos, arg_min(id, pos) as id, arg_min(prompt, pos) as prompt
  from firsts where prompt is not null group by lower(trim(prompt, '{white}'))),
quartiles as (select quantile_cont(ln(1 + length(prompt)), [0.25, 0.75]) as q from kept)
select id, prompt from kept, quartiles
where ln(1 + length(prompt)) between q[1] - 1.5 * (q[2] - q[1]) and q[2] + 1.5 * (q[2] - q[1])
order by pos) to '{out}' (format json)
"""


def make(folder, rows):
    """Conversations in the schema of LMSYS-Chat-1M in 8 files, from real texts; the same on every machine."""
    random.seed(0)
    asked = [turn for row in _rows("arena_hard_question.jsonl") for turn in row["turns"]]
    said = [turn for row in _rows("model_answer/*.jsonl") for c in row["choices"] for turn in c["turns"]]
    said = [turn if isinstance(turn, str) else turn["content"] for turn in said]
    languages = ["English"] * 70 + ["German"] * 10 + ["French"] * 10 + ["Chinese"] * 10
    moderation = {"categories": {"harassment": False}, "category_scores": {"harassment": 1.2e-5}, "flagged": False}
    for shard in range(SHARDS):
        with (folder / f"part-{shard:05d}.jsonl").open("w") as file:
            for _ in range(shard * rows // SHARDS, (shard + 1) * rows // SHARDS):
                text = random.choice(asked)[: random.randint(20, 400)]
                if random.random() < 0.8:
                    text = f"{text} {random.randint(0, 10**6)}"
                answer = random.choice(said)[: random.randint(50, 500)]
                row = {
                    "conversation_id": f"{random.getrandbits(128):032x}",
                    "model": "vicuna-13b",
                    "conversation": [{"content": text, "role": "user"}, {"content": answer, "role": "assistant"}],
                    "turn": 1,
                    "language": random.choice(languages),
                    "openai_moderation": [moderation],
                    "redacted": False,
                }
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _rows(pattern):
    files = sorted(data("chat").glob(pattern))
    return [json.loads(line) for file in files for line in file.open() if line.strip()]


def ours(files, out, sampled):
    from promptmill.io.jsonl import write_jsonl
    from promptmill.registry import build
    from promptmill.select.pipeline import select
    from promptmill.sources.chats import chats

    kinds = ["language", "sample", "turns", "dedup", "outliers"]
    steps = [(kind, build("filters", {"kind": kind})) for kind in kinds if sampled or kind != "sample"]
    with tempfile.TemporaryDirectory(dir=Path(out).parent) as work:
        write_jsonl(Path(out), select(chats(path=files), steps, work=Path(work)).kept)


def duckdb(files, out, sampled):
    import duckdb

    sample = "order by md5('42' || id), id limit 11000" if sampled else ""
    # Memory as small as the statement bears: given more, it takes more and is no faster.
    limit = "600MB" if sampled else "1500MB"
    with duckdb.connect(config={"threads": 2, "memory_limit": limit, "temp_directory": f"{out}.tmp"}) as connection:
        connection.execute(STATEMENT.format(files=files, out=out, sample=sample, white=WHITE))


def measure(kind, files, out, sampled):
    """CPU seconds (user and system) and peak memory in MB of one process."""
    arguments = [sys.executable, __file__, "--child", kind, str(files), str(out), str(int(sampled))]
    before = os.times()
    done = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=600)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, json.loads(done.stdout)["peak_mb"]


def child(kind, files, out, sampled):
    {"ours": ours, "duckdb": duckdb, "make": lambda *_: make(Path(files), int(out))}[kind](files, out, sampled == "1")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps({"peak_mb": int(status["VmHWM"].split()[0]) / 1000}))


def ids(path):
    with Path(path).open() as file:
        return [json.loads(line)["id"] for line in file]


def compare(folder, rounds, sampled):
    """Median CPU seconds and peak memory of both, in turns, and whether they kept the same."""
    found = {"ours": [], "duckdb": []}
    for _ in range(rounds):
        for kind, runs in found.items():
            runs.append(measure(kind, f"{folder}/parts/*.jsonl", folder / f"{kind}.jsonl", sampled))
    medians = {kind: statistics.median(cpu for cpu, _ in runs) for kind, runs in found.items()}
    peaks = {kind: max(peak for _, peak in runs) for kind, runs in found.items()}
    kept = {kind: ids(folder / f"{kind}.jsonl") for kind in found}
    print(f"\nsample {'11,000' if sampled else 'off'}:")
    for kind, runs in found.items():
        times = " ".join(f"{cpu:.2f}" for cpu, _ in runs)
        print(f"  {kind:7} {medians[kind]:6.2f} CPU s ({times}), {peaks[kind]:5.0f} MB, {len(kept[kind])} rows kept")
    return medians, peaks, kept


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--folder", help="where the files go; by default a temporary folder (needs 3 GB)")
    given = options.parse_args()
    data("chat")  # before minutes of work
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        (folder / "parts").mkdir()
        measure("make", folder / "parts", given.rows, sampled=False)
        size = sum(file.stat().st_size for file in (folder / "parts").iterdir())
        print(f"{given.rows} conversations, {size / 1e9:.2f} GB in {SHARDS} files")
        medians, peaks, kept = compare(folder, given.rounds, sampled=True)
        with (folder / "one.jsonl").open("wb") as one:
            for part in sorted((folder / "parts").iterdir()):
                with part.open("rb") as file:
                    shutil.copyfileobj(file, one)
        measure("ours", folder / "one.jsonl", folder / "ours-one.jsonl", sampled=True)
        (folder / "one.jsonl").unlink()
        same_shards = kept["ours"] == ids(folder / "ours-one.jsonl")
        print(f"  1 file and {SHARDS} files give the same rows: {same_shards}")
        full, full_peaks, full_kept = compare(folder, given.rounds, sampled=False)
        same_rows = full_kept["ours"] == full_kept["duckdb"]
        print(f"  both keep the same ids in the same order: {same_rows}; ratio {full['ours'] / full['duckdb']:.2f}")
    ratio = medians["ours"] / medians["duckdb"]
    result = {
        "name": "select_rows",
        "unit": f"CPU s for {given.rows} conversations",
        "ours": round(medians["ours"], 2),
        "peers": {"duckdb": round(medians["duckdb"], 2)},
        "ratio": round(ratio, 2),
        "goal": f"at most {GOAL}, under {MEMORY_MB} MB, same rows for 1 and {SHARDS} files, unsampled the peer's ids",
        "reached": ratio <= GOAL and peaks["ours"] < MEMORY_MB and same_shards and same_rows,
        "peak_mb": {kind: round(peak) for kind, peak in peaks.items()},
        "rows_kept": {kind: len(rows) for kind, rows in kept.items()},
        "unsampled": {
            "cpu_s": {kind: round(cpu, 2) for kind, cpu in full.items()},
            "ratio": round(full["ours"] / full["duckdb"], 2),
            "peak_mb": {kind: round(peak) for kind, peak in full_peaks.items()},
            "rows_kept": len(full_kept["ours"]),
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
