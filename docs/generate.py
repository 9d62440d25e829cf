"""Write the reference pages from the code, and the measured figures from benchmarks/results/*.json.

Options come from structs and tables, rows from `records` and `derive`, flags from click. `python docs/generate.py`
writes docs/reference/*.md and the tables between `<!-- figures -->` and `<!-- end of figures -->` in README.md and
docs/performance.md; with `--check` it writes nothing and exits with 1 if a page is not what it should be.
"""

import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click
import msgspec

from promptmill import config, records, registry
from promptmill.cli import _COMMANDS, app
from promptmill.cli.options import plain
from promptmill.cli.recipes import WORKFLOWS, module_of
from promptmill.derive import exports, lengths, responses, row_files, slice_files, slices
from promptmill.derive.parquet import COLUMNS
from promptmill.endpoints.fake.answers import FAULTS
from promptmill.endpoints.fake.batches import LINE_FAULTS
from promptmill.generate.lane import LaneOptions
from promptmill.select import pipeline
from promptmill.workflows.judging import Judge
from promptmill.workflows.reporting import Report

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
RESULTS = ROOT / "benchmarks" / "results"
FIGURES = ("<!-- figures -->", "<!-- end of figures -->")

FIRST = [  # what the README shows; misses and hits alike stand in docs/performance.md
    "client_cpu", "kill_resume", "length_predictor", "million", "mixed_latency", "real_server_vllm",
    "sandbox", "verify",
]  # fmt: skip
EXPORTS = [  # heading, struct, what the file is
    ("results", exports.Result, "One entry of `results` in `vllm_results.json` (or the file that `--output` names)."),
    (
        "training",
        slices.Slice,
        "One row of `<stem>_training.jsonl`: an answer that ended by itself, cut at some token.",
    ),
    ("splits", row_files.Located, "One row of `<stem>_splits.jsonl`, in the order of the training file."),
    ("lengths", lengths.LengthTarget, "One row of `<stem>_lengths.jsonl`: the lengths of all samples of a prompt."),
    ("problem", responses.ProblemRow, "One row of the files of `answers`: `MODEL_DATASET.jsonl`, and `_processed`."),
    ("code", responses.CodeRow, "The same for a problem that is judged by running code."),
    ("plainresponse", responses.PlainResponse, "One of the `responses` in `MODEL_DATASET.jsonl`."),
    ("gradedresponse", responses.GradedResponse, "One of the `responses` in `MODEL_DATASET_processed.jsonl`."),
    ("report", Report, "The file `MODEL_DATASET_summary.json`."),
]
CENSORED = {
    "remaining_tokens_at_least": "tokens to the limit that cut the answer; how many were still to come is not known.",
    "prompt_id": "the prompt.",
    "sample": "sample number.",
}
COUNTS = {
    "completions": "answers, whole, truncated or withheld.",
    "whole": "answers that ended by themselves.",
    "censored": "answers that the limit cut.",
    "failures": "requests without an answer; they give no row.",
    "filtered": "answers that the server withheld (`finish: filter`); they give no row.",
    "tool_calls": "answers that call a tool (`finish: tool`); they give no row.",
    "reasoning_without_ids": "answers with reasoning apart but without token ids; their length is unknown: no row. "
    "Where the reasoning stood in the text, `think_tags: []` leaves it there.",
    "empty": "answers of no token.",
    "server_ids": "answers counted by the ids that the server reported.",
    "encoded": "answers counted by encoding their text again.",
    "ids_not_matching": "answers whose ids do not spell their text with this tokenizer; they were encoded again.",
    "trimmed": "answers whose text lacks characters that their ids spell at the end (a stop string, half a character).",
    "usage_differs": "answers for which the server's own count (`usage`) is another one.",
    "tokens": "tokens of all answers that gave rows.",
    "training_rows": "rows of the training file.",
    "censored_rows": "rows of the censored file.",
    "train_rows": "training rows of prompts in the split train.",
    "validation_rows": "training rows of prompts in the split validation.",
    "test_rows": "training rows of prompts in the split test.",
    "prompts": "prompts with a row of targets.",
    "longest_row": "bytes of the longest row.",
}

WORDS = {
    Mapping: "mapping",
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    dict: "mapping",
    type(None): "null",
    object: "any value",
    msgspec.Raw: "any value",
}


def type_name(kind: object) -> str:
    """A type in the words of someone who writes YAML."""
    bare, table = config.unwrap(kind)
    if table is not None:
        return f"an entry of [{table.name}](tables.md#{table.name})"
    origin, inside = get_origin(bare), get_args(bare)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inside)
    if origin in (Union, UnionType):
        return " or ".join(type_name(arm) for arm in inside)
    if origin in (list, tuple, Sequence):
        return f"list of: {type_name(inside[0])}"
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return f"[{bare.__name__}](rows.md#{bare.__name__.lower()})"
    return "any value" if bare is Any else WORDS[origin or bare]


def option_rows(options: list[tuple[str, registry.Option]]) -> list[str]:
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for name, option in options:
        default = (
            "required" if option.default is msgspec.NODEFAULT else f"`{plain(option.default)}`".replace("|", "\\|")
        )
        meaning = option.help.replace("|", "\\|")
        rows.append(f"| `{name}` | {type_name(option.type)} | {default} | {meaning} |")
    return rows


def recipe() -> str:
    lines = ["# Recipes", "", "Every option is a YAML key and, under its dotted name, a flag."]
    for name in WORKFLOWS:
        module, kind = module_of(name), WORKFLOWS[name].partition(":")[2]
        lines += ["", f"## {name}", "", *option_rows(list(config.iter_leaves(getattr(module, kind))))]
        if name == "answers":
            lines += ["", "The section `judge`, where there is one:", ""]
            lines += option_rows([(f"judge.{path}", option) for path, option in config.iter_leaves(Judge)])
        lines += ["", "Short flags, for people who come from scripts:", "", "| flag | sets |", "|---|---|"]
        lines += [f"| `{flag}` | `{path}` |" for flag, path in module.SHORT_FLAGS.items()]
    return "\n".join(lines)


def tables() -> str:
    lines = ["# Tables", "", "What a recipe can name, as `{kind: NAME, option: value}`."]
    for table in sorted(registry.TABLES):
        lines += ["", f"## {table}"]
        for name in registry.TABLES[table]:
            function = registry.load(table, name)
            lines += ["", f"### {name}", "", (function.__doc__ or "").strip().splitlines()[0], ""]
            found = registry.options(function)
            lines += option_rows([(option.name, option) for option in found]) if found else ["No options."]
        if table == "endpoints":
            lines += [
                "",
                "### lanes",
                "",
                "Every endpoint also has these options; see [asking](../asking.md#lanes).",
                "",
            ]
            lines += option_rows([(option.name, option) for option in config.struct_options(LaneOptions)])
    return "\n".join(lines)


def rows() -> str:
    lines = [
        "# Rows",
        "",
        "What stands in the files of a run. JSONL files hold one row a line; with `slices.formats: [jsonl, parquet]`",
        "the exports also stand as Parquet, with the same columns. How they are made: [lengths](../lengths.md).",
        "",
        "## Exports",
    ]
    for name, struct, text in EXPORTS:
        lines += ["", f"### {name}", "", text, ""]
        lines += field_rows(config.struct_options(struct))
        if name == "training":
            lines += censored()
    lines += meta() + dropped()
    lines += [
        "",
        "## Records",
        "",
        "The structs of `promptmill.records`, as they stand in `prompts/` and `generate/`. A field at its default",
        "is left out. `generate/part-*.jsonl` holds `Completion` and `Failure` rows; `type` says which.",
    ]
    structs = [kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, records.Record)]
    for struct in structs:
        if struct is not records.Record:
            lines += ["", f"### {struct.__name__}", "", (struct.__doc__ or "").strip().splitlines()[0], ""]
            lines += option_rows([(option.name, option) for option in config.struct_options(struct)])
    return "\n".join(lines)


def field_rows(fields: list[registry.Option]) -> list[str]:
    """A table of columns that are always there."""
    rows = ["| column | type | meaning |", "|---|---|---|"]
    return rows + [f"| `{f.name}` | {type_name(f.type)}{nullable(f.type)} | {f.help} |" for f in fields]


def nullable(kind: object) -> str:
    return " or null" if type(None) in get_args(kind) else ""


def censored() -> list[str]:
    """The rows whose columns are those of training rows and a few more."""
    words = {"VARCHAR": "text", "BIGINT": "whole number"}
    known = {option.name: option.help for option in config.struct_options(slices.Slice)} | CENSORED
    lines = []
    for name, text in {
        "censored": "One row of `<stem>_censored.jsonl`: an answer that the limit cut, cut at some token.",
        "split": "One row of `<stem>_splits/train.jsonl`, `validation.jsonl`, `test.jsonl` (with `split_files: true`).",
    }.items():
        lines += ["", f"### {name}", "", text, "", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{column}` | {words[kind]} | {known[column]} |" for column, kind in COLUMNS[name].items()]
    return lines


def meta() -> list[str]:
    """The counts of `<stem>_training.meta.json`."""
    lines = ["", "### meta", "", "`counts` in `<stem>_training.meta.json`.", "", "| count | meaning |", "|---|---|"]
    return lines + [f"| `{name}` | {COUNTS[name]} |" for name in slice_files.COUNTS]


def dropped() -> list[str]:
    """What selection leaves."""
    return [
        "",
        "### dropped",
        "",
        "One row of `prompts/dropped.jsonl`: a prompt that a selection step dropped.",
        "",
        "| column | type | meaning |",
        "|---|---|---|",
        "| `id` | text | `Prompt.id`. |",
        "| `source` | text | where it came from. |",
        "| `step` | text | the step that dropped it. |",
        "| `reason` | text | why. |",
        "",
        "The counts of each step stand in `manifest.json`:",
        "",
        *field_rows(config.struct_options(pipeline.StepCount)),
    ]


def figures(names: Sequence[str] | None = None) -> str:
    """The table of what was measured, one row a benchmark; all of them unless some are named."""
    found = [json.loads(path.read_bytes()) for path in sorted(RESULTS.glob("*.json"))]
    found = [one for one in found if names is None or one["name"] in names]
    if not found:
        return "Nothing is recorded yet. `make bench` measures and writes `benchmarks/results/*.json`."
    lines = ["| claim | unit | promptmill | beside it | ratio | goal | reached |", "|---|---|---|---|---|---|---|"]
    for one in found:
        peers = ", ".join(f"{name}: {value}" for name, value in one["peers"].items()) or "nothing"
        reached = "yes" if one["reached"] else "**no**"
        cells = (
            one["name"],
            one["unit"],
            one["ours"],
            peers,
            "-" if one["ratio"] is None else one["ratio"],
            one["goal"],
            reached,
        )
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    where: dict[str, list[str]] = {}
    for one in found:
        if "machine" in one:
            where.setdefault(one["machine"], []).append(one["commit"])
    places = [f"Measured on {place}; commits {', '.join(sorted(set(commits)))}." for place, commits in where.items()]
    return "\n".join([*lines, "", *places]).rstrip()


def with_figures(text: str, names: Sequence[str] | None = None) -> str:
    """A page with its table of figures written anew."""
    before, begin, rest = text.partition(FIGURES[0])
    _, end, after = rest.partition(FIGURES[1])
    return f"{before}{begin}\n{figures(names)}\n{end}{after}"


def cli() -> str:
    lines = ["# Command line"]
    with click.Context(app) as context:
        for name in sorted(_COMMANDS):
            command = app.get_command(context, name)
            groups = [(name, command)]
            if isinstance(command, click.Group):
                groups += [(f"{name} {sub}", command.commands[sub]) for sub in command.commands]
            for path, each in groups:
                lines += ["", f"## promptmill {path}", "", inspect.cleandoc(each.help or each.__doc__ or "")]
                if any(isinstance(p, click.Argument) and p.metavar == "[RECIPE]" for p in each.params):
                    group = path.split()[0]
                    if path != f"{group} run":
                        lines += ["", f"Options as for `{group} run`."]
                        continue
                if path == "fake-server":
                    for title, faults in (("Faults", FAULTS), ("Faults of batch lines", LINE_FAULTS)):
                        lines += ["", f"{title}:", "", "| fault | what the server does |", "|---|---|"]
                        lines += [f"| `{fault}` | {text} |" for fault, text in faults.items()]
                own = [p for p in each.params if isinstance(p, click.Option)]
                if own:
                    lines += ["", "| flag | meaning |", "|---|---|"]
                for option in own:
                    flags = ", ".join(f"`{flag}`" for flag in option.opts)
                    lines.append(f"| {flags} | {(option.help or '').replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def main() -> int:
    stale = 0
    pages = {"recipe": recipe, "tables": tables, "rows": rows, "cli": cli}
    texts = {REFERENCE / f"{name}.md": page() + "\n" for name, page in pages.items()}
    for path, names in ((ROOT / "README.md", FIRST), (ROOT / "docs" / "performance.md", None)):
        texts[path] = with_figures(path.read_text(), names)
    for path, text in texts.items():
        if "--check" in sys.argv:
            stale += not path.exists() or path.read_text() != text
        else:
            path.write_text(text)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
