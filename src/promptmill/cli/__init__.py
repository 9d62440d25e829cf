"""The command line: one file per command group, the only place that prints; an error is one line and an exit code.

Exit codes: 0 done, 1 finished with more failures than the recipe allows, 2 wrong input or unreachable server,
130 interrupted (resumable). Groups load when they are called, so `promptmill --help` imports nothing heavy.
"""

from __future__ import annotations

import _thread
import atexit
import importlib
import logging
import os
import signal
import sys
import time
import traceback
from types import FrameType
from typing import Any, NoReturn

import click

import promptmill
from promptmill.errors import PromptmillError

_COMMANDS = {
    "answers": ("promptmill.cli.answers:answers", "Problems -> k answers each -> verified, scored, compared."),
    "batch": ("promptmill.cli.batch:batch", "Ask by batch files: write, submit, status, collect, cancel."),
    "check": ("promptmill.cli.look:check", "Check a recipe, without a network."),
    "doctor": ("promptmill.cli.look:doctor", "What is installed here, and which servers answer."),
    "fake-server": (
        "promptmill.cli.servers:fake_server",
        "An OpenAI-compatible server that invents answers and faults.",
    ),
    "lengths": ("promptmill.cli.lengths:lengths", "Prompts -> answers -> token slices -> a length predictor."),
    "list": ("promptmill.cli.look:list_table", "What a recipe can name: sources, filters, endpoints, ..."),
    "pause": ("promptmill.cli.steer:pause", "Let a live run start no request until it is resumed."),
    "plan": ("promptmill.cli.plan:plan", "What a recipe would send, reuse and cost, before it does."),
    "recover": ("promptmill.cli.mend:recover", "Repair a damaged run folder, and say what was lost."),
    "resume": ("promptmill.cli.steer:resume", "Let a paused run go on."),
    "serve": ("promptmill.cli.servers:serve", "Start or stop a real model server."),
    "set": ("promptmill.cli.steer:set_limits", "Change the limits of a live run: concurrency=64 max_cost=20."),
    "show": ("promptmill.cli.look:show", "Counts, first rows and files of a run."),
    "status": ("promptmill.cli.steer:status", "How far a run is: once, while it lives, as JSON or for Prometheus."),
    "stop": ("promptmill.cli.steer:stop", "End a live run cleanly; the same command goes on from there."),
    "verify": ("promptmill.cli.mend:verify", "Prove a run folder whole, or name what is not."),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in _COMMANDS:
            from promptmill.registry import did_you_mean  # not at the top: a right command needs no suggestion

            ctx.fail(f"No such command '{args[0]}'.{did_you_mean(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(promptmill.__version__, prog_name="promptmill")
def app() -> None:
    """Turn prompts into training data with LLMs: prompts -> requests -> outcomes -> derived rows -> files."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    atexit.register(_deafen)
    sys.unraisablehook = _dropped
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    _interrupts.clear()
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell told us to ignore it
            signal.signal(signal.SIGINT, _interrupt)
        logging.getLogger("promptmill").setLevel(logging.INFO)
        logging.getLogger("promptmill").addHandler(logging.NullHandler())
        code: Any = app.main(arguments, prog_name="promptmill", standalone_mode=False, obj=arguments)
    except click.ClickException as error:
        return _misused(error)
    except PromptmillError as error:
        return _fail(str(error))
    except OSError as error:
        return _broken(error)
    except SystemExit:
        code = 0  # click's word for a reader of our output that has seen enough (`| head`)
    except (KeyboardInterrupt, click.Abort):
        return _interrupted()
    except Exception as error:  # noqa: BLE001 - the last place before the person
        return _bug(error)
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    click.echo("interrupted: the same command goes on from here.", err=True)
    return 130


def _bug(error: Exception) -> int:
    """An error that nobody foresaw; or an interrupt that a library, being imported, made another error of."""
    if _interrupts:
        return _interrupted()
    traceback.print_exc()
    click.echo(f"error: this is a bug in promptmill ({type(error).__name__}). Nothing written is lost.", err=True)
    return 2


def _fail(text: str) -> int:
    """Say what is wrong in one line."""
    from promptmill.cli.panel import clean  # not at the top: it takes rich along, which --help does not need

    click.echo(f"error: {clean(' '.join(text.split()))}", err=True)
    return 2


def _misused(error: click.ClickException) -> int:
    """A wrong command or flag: one line; no command at all: the help."""
    if type(error).__name__ == "NoArgsIsHelpError":  # by name: click 8.1 has no such class
        error.show()
        return 2
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f" See {context.command_path} --help." if context is not None else ""
    text = error.format_message()
    return _fail(text + ("" if text.endswith((".", "?", "!")) else ".") + hint)


def _broken(error: OSError) -> int:
    """A disk that is full, gone or read-only."""
    where = f"{error.filename}: " if error.filename else ""
    return _fail(f"{where}{error.strerror or error}. Mend the disk or its rights and run again: the rest is kept.")


def _deafen() -> None:
    """Ignore interrupts while Python takes itself down: our handlers go first, and the exit code stands by now."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


DEFER_S, DEFER_AT_MOST_S = 0.05, 1.0
_interrupts: list[float] = []  # when they came, by the monotonic clock


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`, but not into an import, if that ends soon: native libraries (duckdb) abort then."""
    _interrupts.append(time.monotonic())
    if _is_importing(frame) and _interrupts[-1] - _interrupts[0] < DEFER_AT_MOST_S:
        _interrupt_again(number)
        return
    raise KeyboardInterrupt


def _dropped(what: sys.UnraisableHookArgs) -> None:
    """Python drops what is raised in a destructor or in a weak reference's callback: an interrupt has to come again."""
    if what.exc_type is KeyboardInterrupt:
        _interrupt_again(signal.SIGTERM)
    else:
        sys.__unraisablehook__(what)


def _interrupt_again(number: int) -> None:
    def later() -> None:
        time.sleep(DEFER_S)
        os.kill(os.getpid(), number)

    _thread.start_new_thread(later, ())  # takes no lock of Python's, any of which may be held in this very moment


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
