"""`promptmill serve` and `promptmill fake-server`."""

from __future__ import annotations

from pathlib import Path

import click

from promptmill import config
from promptmill.cli.options import plain
from promptmill.endpoints import processes
from promptmill.endpoints import serve as servers
from promptmill.endpoints.fake import FakeOptions, run_fake
from promptmill.endpoints.fake.answers import FAULTS
from promptmill.endpoints.fake.batches import LINE_FAULTS
from promptmill.endpoints.models import NAMED
from promptmill.errors import ConfigError
from promptmill.registry import did_you_mean


@click.command()
@click.argument("model", required=False)
@click.option("--kind", help="llama.cpp or vllm; llama.cpp for packaged models and .gguf files, else vllm.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="An option of the server: threads=1.")
@click.option("--wait", "wait_s", type=float, default=600.0, show_default=True, help="Seconds until it must answer.")
@click.option("--stop", "which", metavar="PORT|PID|all", help="Stop a server that promptmill started.")
@click.option("--list", "show", is_flag=True, help="List the servers that promptmill started.")
def serve(
    model: str | None, *, kind: str | None, assignments: tuple[str, ...], wait_s: float, which: str | None, show: bool
) -> None:
    """Start MODEL (smollm2, qwen2.5-coder-1.5b, a .gguf file, a folder or Hub id) in the background, or stop it."""
    if show:
        found = processes.started()
        if not found:
            click.echo("no server that promptmill started is running", err=True)
        for server in found:
            click.echo(f"{server.kind}  {server.model}  {server.url}  PID {server.pid}  log {server.log}")
        return
    if which is not None:
        for server in servers.stop(which):
            click.echo(f"stopped {server.kind} {server.model} (PID {server.pid}, {server.url})")
        return
    if model is None:
        raise ConfigError("serve: no model is named. For example: promptmill serve smollm2")
    if kind is None and model not in NAMED and not Path(model).exists() and (hint := did_you_mean(model, NAMED)):
        raise ConfigError(f"serve: no model '{model}'.{hint} For a Hub id of that name: --kind vllm.")
    chosen = kind or ("llama.cpp" if model in NAMED or model.endswith(".gguf") else "vllm")
    document = config.Document({"serve": {"kind": chosen, "model": model}}, {}, "serve")
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: is not of the form key=value.")
        config.override(document, f"serve.{key}", config.parse_value(text), origin=f"--set {key}")
    server = servers.start(config.check_use(document, "serve", "servers"), wait_s=wait_s)
    click.echo(f"{server.kind} serves {server.model} at {server.url} (PID {server.pid})")
    click.echo(f"log: {server.log}")
    click.echo(f"stop it with: promptmill serve --stop {server.port}")


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
