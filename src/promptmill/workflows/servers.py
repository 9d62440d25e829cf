"""Who is asked: the endpoints of a recipe, of the server that it starts, or of the environment, as lanes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from promptmill import config, registry
from promptmill.config import Use
from promptmill.endpoints import keys, serve
from promptmill.endpoints.link import Address
from promptmill.errors import ConfigError
from promptmill.generate.lane import Lane, LaneOptions
from promptmill.workflows.options import GenerateOptions
from promptmill.workflows.stages import Reporter

BASE_URL, KEY, KEYS = "OPENAI_BASE_URL", "OPENAI_API_KEY", "API_KEYS"
_OF_LANE = tuple(option.name for option in config.struct_options(LaneOptions))


def endpoints_of(options: GenerateOptions) -> list[Use]:
    """The endpoints of the recipe, else the one that the environment names (`OPENAI_BASE_URL` and a key).

    Raises:
        ConfigError: there is neither.
    """
    if options.endpoints:
        return options.endpoints
    base_url = os.environ.get(BASE_URL, "").strip()
    if base_url:
        use: Use = {"kind": "openai", "base_url": base_url}
        if os.environ.get(KEYS, "").strip():
            use["api_keys_env"] = KEYS
        elif os.environ.get(KEY, "").strip():
            use["api_key_env"] = KEY
        return [use]
    if options.DEFAULT_URL is not None:
        return [{"kind": "openai", "base_url": options.DEFAULT_URL}]
    raise ConfigError(
        "generate.endpoints: is empty and there is no 'serve:'. Name a server (--server-url URL, or export "
        f"{BASE_URL}), or let promptmill start one (serve: {{kind: llama.cpp, model: smollm2}})."
    )


@contextmanager
def running_endpoints(options: GenerateOptions, serve_use: Use | None, reporter: Reporter) -> Iterator[list[Use]]:
    """The same, or the endpoint of the server that the recipe asks to be started, and stopped afterwards."""
    if serve_use is None:
        yield endpoints_of(options)
        return
    with serve.running(serve_use) as server:
        reporter.line(f"serve: {server.model} answers at {server.url} (PID {server.pid}, log {server.log}).")
        if server.note:
            reporter.line(f"serve: {server.note}")
        yield [{"kind": server.endpoint, "base_url": server.url}]
    reporter.line(f"serve: PID {server.pid} is stopped.")


def lane_options(use: Use) -> LaneOptions:
    """What an entry of `endpoints` says of its lanes."""
    return msgspec.convert({name: use[name] for name in _OF_LANE if name in use}, LaneOptions)


def _spoken(use: Use) -> Use:
    """What it says of how it is spoken to: the rest."""
    return {name: value for name, value in use.items() if name not in _OF_LANE}


def first_of(use: Use) -> Use:
    """How an endpoint is spoken to with its first key; for what must always be asked with one key (batch files)."""
    own, how = lane_options(use), _spoken(use)
    (reference, *_) = _references(use, own)
    return how if reference is None else {**how, "api_key_env": reference}


def n_lanes(use: Use) -> int:
    """How many lanes an entry of `endpoints` becomes; 1 where its keys are not here, for planning needs none."""
    try:
        return len(_references(use, lane_options(use)))
    except ConfigError:
        return 1


def lanes_of(uses: list[Use], options: GenerateOptions) -> list[Lane]:
    """A lane for each endpoint and key.

    Raises:
        ConfigError: a variable holds no key, or an option is wrong.
    """
    width = options.concurrency if isinstance(options.concurrency, int) else None
    lanes: list[Lane] = []
    for number, use in enumerate(uses):
        own, how = lane_options(use), _spoken(use)
        if "timeout_s" in how:  # or a lane that hangs would never be known as the one that does
            how["timeout_s"] = min(how["timeout_s"], options.deadline_s)
        try:
            for reference in _references(use, own):
                if reference is not None:
                    how["api_key_env"] = reference
                lane = Lane(
                    registry.build("endpoints", how), _name(how, reference, lanes), own, width=width, home=_home(how)
                )
                lane.widen(fixed=width, most=options.max_concurrency)
                lanes.append(lane)
        except ConfigError as error:
            raise ConfigError(f"generate.endpoints.{number}: {error}") from error
    return lanes


def _references(use: Use, own: LaneOptions) -> list[str | None]:
    if own.api_keys_env is None:
        return [use.get("api_key_env")]
    return list(keys.list_keys(own.api_keys_env, own.service))


def _home(use: Use) -> str:
    """What is asked: lanes with several keys of one server share it."""
    return Address(use["base_url"]).root if "base_url" in use else str(use.get("function", use["kind"]))


def _name(use: Use, reference: str | None, others: list[Lane]) -> str:
    name = _home(use) + (f" ({keys.label(reference)})" if reference else "")
    same = sum(lane.name == name or lane.name.startswith(f"{name} no. ") for lane in others)
    return f"{name} no. {same + 1}" if same else name
