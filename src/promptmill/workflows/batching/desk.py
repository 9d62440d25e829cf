"""What every batch command works at: an open, locked run, its ledger, and the server its files go to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from promptmill import registry
from promptmill.endpoints.batches import PAUSE_S, Batch, Batches
from promptmill.endpoints.openai import OpenAI
from promptmill.endpoints.transport import Transport
from promptmill.errors import ConfigError, RunError
from promptmill.records import content_id
from promptmill.run import Run, open_run, read_manifest
from promptmill.workflows import asking as asked
from promptmill.workflows import stages
from promptmill.workflows.asking import Asking
from promptmill.workflows.batching.ledger import (
    FOLDER,
    Ledger,
    RequestFile,
    load_ledger,
    new_ledger,
    save_ledger,
    since,
)
from promptmill.workflows.opening import changes_of, refuse_foreign, remembered_model
from promptmill.workflows.options import GenerateOptions
from promptmill.workflows.servers import first_of
from promptmill.workflows.stages import Reporter

T = TypeVar("T")


class Wire(NamedTuple):
    """How servers are reached.

    Attributes:
        transport: how bytes travel; HTTP/1.1 where it is None.
        pause_s: first pause before a further attempt.
    """

    transport: Transport | None = None
    pause_s: float = PAUSE_S


WIRE = Wire()


class Server:
    """Which of the recipe's endpoints is asked."""

    def __init__(self, options: GenerateOptions, wire: Wire) -> None:
        self._endpoints = options.endpoints
        self._wire = wire

    def number(self, wanted: int | None) -> int:
        """The wanted endpoint, or the first that has batches.

        Raises:
            ConfigError: there is none.
        """
        able = [number for number, use in enumerate(self._endpoints) if use["kind"] == "openai"]
        if not able:
            raise ConfigError("generate.endpoints: none is of kind 'openai'; batch files need one. Name it there.")
        if wanted is not None and wanted not in able:
            there = ", ".join(map(str, able))
            raise ConfigError(
                f"--endpoint {wanted}: no endpoint of kind 'openai' has this number in generate.endpoints. "
                f"Give one of: {there}."
            )
        return able[0] if wanted is None else wanted

    def endpoint(self, number: int) -> OpenAI:
        """An endpoint of the recipe."""
        made = registry.build(
            "endpoints", first_of(self._endpoints[self.number(number)]), transport=self._wire.transport
        )
        assert isinstance(made, OpenAI)
        return made

    def ask(self, file: RequestFile, ask: Callable[[Batches], Coroutine[Any, Any, T]]) -> T:
        """Ask the batch pages of the server that a file was made for.

        Raises:
            ConfigError: the recipe names another server today.
        """
        link = self.endpoint(file.endpoint).link
        if link.shown != file.server:
            raise ConfigError(
                f"generate.endpoints.{file.endpoint}: is {link.shown}, and {file.name} was made for {file.server}. "
                "Set the recipe back."
            )

        async def go() -> T:
            batches = Batches(link, pause_s=self._wire.pause_s)
            try:
                return await ask(batches)
            finally:
                await batches.close()

        return asyncio.run(go())


class Desk:
    """An open run with its ledger; made by `open_desk`.

    Attributes:
        run: the run.
        asking: who is asked what.
        ledger: its batch files.
        server: where they go.
        reporter: is told what happens.
    """

    def __init__(self, run: Run, asking: Asking, *, ledger: Ledger, server: Server, reporter: Reporter) -> None:
        self.run = run
        self.asking = asking
        self.ledger = ledger
        self.server = server
        self.reporter = reporter

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.run.path / FOLDER

    def note(self, file: RequestFile, **facts: Any) -> None:
        """Change what the ledger says about a file, on the disk before anything else happens."""
        for name, value in facts.items():
            setattr(file, name, value)
        save_ledger(self.run.path, self.ledger)

    def chosen(self, names: Sequence[str]) -> list[RequestFile]:
        """The files of these names; all that wait, without names.

        Raises:
            ConfigError: there is none of a name.
        """
        by_name = {file.name: file for file in self.ledger.files}
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise ConfigError(
                f"{unknown[0]}: no request file of this run.{registry.did_you_mean(unknown[0], by_name)} "
                f"There are: {', '.join(by_name) or 'none'}."
            )
        return [by_name[name] for name in dict.fromkeys(names)] if names else self.ledger.waiting

    async def look(self, file: RequestFile, batches: Batches) -> Batch | None:
        """What the server says about a file's batch, noted; None if there is no batch."""
        if file.batch_id is not None:
            batch: Batch | None = await batches.get(file.batch_id)
        else:
            batch = await self.find(file, batches)
        if batch is not None:
            self.note(file, state="submitted", batch_id=batch.id, status=batch.status, expires_at=batch.expires_at)
        return batch

    async def find(self, file: RequestFile, batches: Batches) -> Batch | None:
        """The batch that the server has of a file, whatever the ledger says."""
        return await batches.find(self.ledger.mark(file), file_id=file.file_id, since=since(file))


def check_options(options: GenerateOptions) -> None:
    """Raise a ConfigError if this recipe cannot be asked by batch files."""
    Server(options, WIRE).number(None)
    limit = options.sampling.max_tokens
    if not isinstance(limit, int):
        raise ConfigError(
            f"generate.sampling.max_tokens: is '{limit}', and no server tells a batch file what a prompt leaves of its "
            "context. Give a number."
        )


@contextmanager
def open_desk(out: Path, options: GenerateOptions, *, reporter: Reporter, wire: Wire) -> Iterator[Desk]:
    """Open and lock a run, and its ledger.

    Raises:
        RunError: no run, or one whose batch files were written by another recipe.
        ConfigError: the recipe cannot be asked by batch.
    """
    check_options(options)
    server = Server(options, wire)
    manifest = read_manifest(out)
    prompts = stages.remembered_prompts(out)
    asking = asked.asking(options, None, known=remembered_model(out))
    asks = content_id([prompts, asking.identity()])
    with open_run(out, workflow=manifest["workflow"], seeds=manifest.get("seeds", {})) as run:
        run.recall("prompts")
        run.identify("generate", asking.identity())
        refuse_foreign(changes_of(run), run.path / "generate", options)
        run.folder(FOLDER)
        ledger = load_ledger(out) or new_ledger(asks)
        if ledger.asks != asks and ledger.waiting:
            raise RunError(
                f"{out / FOLDER}: holds batch files of another recipe (other prompts, model or sampling). Set the "
                "recipe back, or use another --out."
            )
        ledger.asks = asks
        yield Desk(run, asking, ledger=ledger, server=server, reporter=reporter)
