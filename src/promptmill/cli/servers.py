"""`promptmill serve` and `promptmill fake-server`."""

from __future__ import annotations

import click
import msgspec

from promptmill import config, registry
from promptmill.cli.options import plain
from promptmill.endpoints import processes
from promptmill.endpoints import serve as servers
from promptmill.endpoints.fake import FakeOptions, run_fake
from promptmill.endpoints.fake.answers import FAULTS
from promptmill.endpoints.fake.batches import LINE_FAULTS
from promptmill.errors import ConfigError


@click.command(
    epilog="What stands after -- goes to the server's own command line: promptmill serve M -- --dtype bfloat16"
)
@click.argument("model", required=False)
@click.argument("extra", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGS]")
@click.option(
    "--kind", help="llama.cpp, vllm or transformers; llama.cpp for packaged models and .gguf files, else vllm."
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="An option of the server: threads=1.")
@click.option("--wait", "wait_s", type=float, default=600.0, show_default=True, help="Seconds until it must answer.")
@click.option(
    "--stop", "which", metavar="[PORT|PID|all]", is_flag=False, flag_value="only",
    help="Stop a server that promptmill started; which one need not be said where only one runs.",
)  # fmt: skip
@click.option("--list", "show", is_flag=True, help="List the servers that promptmill started.")
def serve(
    model: str | None, *, kind: str | None, assignments: tuple[str, ...], wait_s: float, which: str | None, show: bool,
    extra: tuple[str, ...], **flags: str | bool | None,
) -> None:  # fmt: skip
    """Start MODEL (smollm2, qwen2.5-coder-1.5b, a .gguf file, a folder or Hub id) in the background, or stop it."""
    if show:
        _list()
    elif which is not None:
        for server in servers.stop(which):
            click.echo(f"stopped {server.kind} {server.model} (PID {server.pid}, {server.url})")
    elif model is None:
        raise ConfigError("serve: no model is named. For example: promptmill serve smollm2")
    else:
        use = _use(model, kind=kind, assignments=assignments, flags=flags, extra=extra)
        server = servers.start(use, wait_s=wait_s)
        click.echo(f"{server.kind} serves {server.model} at {server.url} (PID {server.pid})")
        click.echo(f"log: {server.log}")
        if server.note:
            click.echo(f"note: {server.note}")
        click.echo(f"stop it with: promptmill serve --stop {server.port}")


def _list() -> None:
    found = processes.started()
    if not found:
        click.echo("no server that promptmill started is running", err=True)
    for server in found:
        click.echo(f"{server.kind}  {server.model}  {server.url}  PID {server.pid}  log {server.log}")


def _use(
    model: str,
    *,
    kind: str | None,
    assignments: tuple[str, ...],
    flags: dict[str, str | bool | None],
    extra: tuple[str, ...],
) -> config.Use:
    """What the command line says, as `serve:` of a recipe would.

    Raises:
        ConfigError: it makes no sense.
    """
    if extra and not extra[0].startswith("-"):
        raise ConfigError(f"serve: '{extra[0]}' is one argument too many. One server serves one model.")
    chosen = servers.kind_for(model, kind)
    document = config.Document({"serve": {"kind": chosen, "model": model}}, {}, "serve")
    for name, given in flags.items():
        if given is not None:
            value = config.parse_value(given, _OPTIONS[name].type) if isinstance(given, str) else given
            config.override(document, f"serve.{name}", value, origin=f"--{name.replace('_', '-')}")
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: is not of the form key=value.")
        config.override(document, f"serve.{key}", config.parse_value(text), origin=f"--set {key}")
    if extra:
        if not any(option.name == "extra_args" for option in registry.options(registry.load("servers", chosen))):
            raise ConfigError(f"serve: {chosen} takes no further arguments ({' '.join(extra)}). Use its options.")
        config.override(document, "serve.extra_args", list(extra), origin="--")
    return config.check_use(document, "serve", "servers")


def _server_flags() -> dict[str, registry.Option]:
    """A flag for every option of every kind of server, but the ones that a command line says otherwise.

    Plug-ins' options are reached by `--set`: they are not imported to show the help.
    """
    found: dict[str, registry.Option] = {}
    of_kinds: dict[str, list[str]] = {}
    kinds = registry.TABLES["servers"]
    for kind in kinds:
        for option in registry.options(registry.load("servers", kind)):
            if option.name not in {"model", "extra_args", "env"}:
                found.setdefault(option.name, option)
                of_kinds.setdefault(option.name, []).append(kind)
    return {
        name: option
        if len(of_kinds[name]) == len(kinds)
        else msgspec.structs.replace(option, help=f"{', '.join(of_kinds[name])}: {option.help}")
        for name, option in found.items()
    }


_OPTIONS = _server_flags()
serve.params += [
    click.Option([f"--{o.name.replace('_', '-')}", o.name], is_flag=True, default=None, help=o.help)
    if o.type is bool
    else click.Option(
        [f"--{o.name.replace('_', '-')}", o.name],
        metavar="VALUE",
        help=o.help if o.default in (None, msgspec.NODEFAULT) else f"{o.help} [{plain(o.default)}]",
    )
    for o in _OPTIONS.values()
]


def _fake(**given: str | None) -> None:
    document = config.Document({}, {}, "fake-server")
    types = {option.name: option.type for option in config.struct_options(FakeOptions)}
    for name, text in given.items():
        if text is not None:
            value = config.parse_value(text, types[name])
            config.override(document, name, value, origin=f"--{name.replace('_', '-')}")
    options = config.check(document, FakeOptions)
    run_fake(options, lambda url: click.echo(f"fake server at {url} (model {options.model}; counts at {url}/stats)"))


fake_server = click.Command(
    "fake-server",
    callback=_fake,
    params=[
        click.Option(
            [f"--{o.name.replace('_', '-')}", o.name],
            metavar="VALUE",
            help=o.help if o.default in ("", ()) else f"{o.help} [{plain(o.default)}]",
        )
        for o in config.struct_options(FakeOptions)
    ],
    help="An OpenAI-compatible server on loopback that invents answers and faults, and counts requests at /stats.",
    epilog=f"Faults: {', '.join(FAULTS)}. Faults of batch lines: {', '.join(LINE_FAULTS)}.",
)
