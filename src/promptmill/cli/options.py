"""Recipe options as flags: one loop over the recipe's structs, no second definition.

Every option of a recipe is a flag under its dotted name (`--generate.k 3`); a workflow may add short names
(`--max-tokens`). Only flags that were really given override the YAML; `--set a.b=c` reaches table entries too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from promptmill import config
from promptmill.config import Document
from promptmill.errors import ConfigError
from promptmill.registry import Option

FLAGS = "flags"  # the name of a recipe that is none but flags
INSIDE = {
    "source.path": "a file, a folder, or a pattern like 'data/*.jsonl'.",
    "source.n": "how many problems to take from the beginning, or all.",
    "generate.endpoints.0.base_url": "address of the server; `local` is http://localhost:8000/v1, `remote` OpenAI's.",
    "generate.endpoints.0.api_key_env": "the environment variable that holds the server's key; never the key.",
}
"""What short flags mean that set an option inside an entry of a table."""


def recipe_options(recipe: type[msgspec.Struct], short: Mapping[str, str]) -> Callable[[Any], Any]:
    """Decorate a command with the flags of a recipe. `short` maps `--flag` to the dotted path it sets.

    The command gets one parameter, `document`: the recipe file (or an empty one) with the given flags laid over it.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        leaves = dict(config.iter_leaves(recipe))
        flags: dict[str, tuple[str, ...]] = {path: (flag,) for flag, path in short.items()}  # these first
        flags |= {path: () for path in leaves if path not in flags}
        params: list[click.Parameter] = [click.Argument(["recipe_file"], required=False, metavar="[RECIPE]")]
        paths: dict[str, str] = {}
        for number, (path, names) in enumerate(flags.items()):
            variable = f"option_{number}"
            paths[variable] = path
            params.append(_option(variable, path, names, leaves.get(path)))
        params.append(
            click.Option(
                ["--set", "assignments"], multiple=True, metavar="A.B=VALUE", help="Set any key of the recipe."
            )
        )

        def wrapped(recipe_file: str | None, assignments: tuple[str, ...], **values: Any) -> Any:
            given = {paths[name]: values.pop(name) for name in list(values) if name in paths}
            chosen = {path: value for path, value in given.items() if value is not None}
            document = _document(recipe_file, values.get("out"), given=bool(chosen or assignments))
            for path, text in chosen.items():
                value = config.parse_value(text, leaves[path].type if path in leaves else Any)
                config.override(document, path, value, origin=(flags[path] or (f"--{path}",))[0])
            for assignment in assignments:
                config.assign(document, assignment)
            if document.name == FLAGS and "source" not in document.tree:
                raise ConfigError("no source is named. Give --input PATH, or a recipe file.")
            return command(document=document, **values)

        wrapped.__name__ = command.__name__
        wrapped.__doc__ = command.__doc__
        wrapped.__click_params__ = [*getattr(command, "__click_params__", []), *reversed(params)]  # type: ignore[attr-defined]
        return wrapped

    return decorate


def _option(variable: str, path: str, names: tuple[str, ...], option: Option | None) -> click.Option:
    # the text is checked by the recipe, where YAML is checked too: one set of messages
    default = ""
    if option is not None and option.default is not msgspec.NODEFAULT:
        default = f" [{plain(option.default)}]"
    text = option.help if option is not None else INSIDE[path]
    return click.Option(
        [*dict.fromkeys([*names, f"--{path}"]), variable], metavar="VALUE", help=f"{text}{default}", default=None
    )


def plain(value: Any) -> str:
    """A default as it would stand in YAML, on one line."""
    text = yaml.safe_dump(msgspec.to_builtins(value), default_flow_style=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _document(recipe_file: str | None, out: str | None, *, given: bool) -> Document:
    if recipe_file is not None:
        return config.read_recipe(Path(recipe_file))
    if out is not None and (Path(out) / "recipe.yaml").is_file():
        return config.read_recipe(Path(out) / "recipe.yaml")
    if not given and out is not None:
        raise ConfigError(f"{out}: holds no run. Check --out, or give a recipe file, or flags (see --help).")
    if not given:
        raise ConfigError("no recipe is named. Give a recipe file, or flags (see --help), or the --out of a run.")
    return Document({}, {}, FLAGS)
