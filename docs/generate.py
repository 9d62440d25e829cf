"""Write the reference pages from the code: options from structs and tables, rows from `records`, flags from click.

`python docs/generate.py` writes docs/reference/*.md; with `--check` it exits with 1 if a page is not what the code
says.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin

import click
import msgspec

from promptmill import config, records, registry
from promptmill.cli import _COMMANDS, app
from promptmill.cli.options import plain
from promptmill.workflows.lengths import SHORT_FLAGS, Lengths

REFERENCE = Path(__file__).parent / "reference"


WORDS = {
    Mapping: "mapping",
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    dict: "mapping",
    type(None): "null",
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
    return WORDS.get(origin or bare, str(bare).rpartition(".")[2])


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
    lines = ["# The recipe of `lengths`", "", "Every option is a YAML key and, under its dotted name, a flag.", ""]
    lines += option_rows(list(config.iter_leaves(Lengths)))
    lines += ["", "Short flags, for people who come from scripts:", "", "| flag | sets |", "|---|---|"]
    lines += [f"| `{flag}` | `{path}` |" for flag, path in SHORT_FLAGS.items()]
    return "\n".join(lines)


def tables() -> str:
    lines = ["# Tables", "", "What a recipe can name, as `{kind: NAME, option: value}`."]
    for table in sorted(registry.TABLES):
        lines += ["", f"## {table}"]
        for name in registry.TABLES[table]:
            function = registry.load(table, name)
            lines += ["", f"### {name}", "", (function.__doc__ or "").strip().splitlines()[0], ""]
            lines += option_rows([(option.name, option) for option in registry.options(function)])
    return "\n".join(lines)


def rows() -> str:
    lines = [
        "# Rows",
        "",
        "The structs of `promptmill.records`, as they stand in JSONL. A field at its default is left out.",
    ]
    structs = [kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, records.Record)]
    for struct in structs:
        if struct is not records.Record:
            lines += ["", f"## {struct.__name__}", "", (struct.__doc__ or "").strip().splitlines()[0], ""]
            lines += option_rows([(option.name, option) for option in config.struct_options(struct)])
    return "\n".join(lines)


def cli() -> str:
    lines = ["# Command line"]
    with click.Context(app) as context:
        for name in sorted(_COMMANDS):
            command = app.get_command(context, name)
            groups = [(name, command)]
            if isinstance(command, click.Group):
                groups += [(f"{name} {sub}", command.commands[sub]) for sub in command.commands]
            for path, each in groups:
                lines += ["", f"## promptmill {path}", "", (each.help or each.__doc__ or "").strip()]
                if path.startswith("lengths ") and path != "lengths run":
                    lines += ["", "Options as for `lengths run`."]
                    continue
                own = [p for p in each.params if isinstance(p, click.Option)]
                if own:
                    lines += ["", "| flag | meaning |", "|---|---|"]
                for option in own:
                    flags = ", ".join(f"`{flag}`" for flag in option.opts)
                    lines.append(f"| {flags} | {(option.help or '').replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def main() -> int:
    stale = 0
    for name, page in {"recipe": recipe, "tables": tables, "rows": rows, "cli": cli}.items():
        path, text = REFERENCE / f"{name}.md", page() + "\n"
        if "--check" in sys.argv:
            stale += not path.exists() or path.read_text() != text
        else:
            path.write_text(text)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
