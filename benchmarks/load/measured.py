"""What benchmarks of the client share: a server in a process of its own, and the CPU that a process used."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class Used(NamedTuple):
    """What a process took: CPU seconds, with those of its children, and seconds by the clock."""

    cpu_s: float
    wall_s: float


def run(argv, *, env=None, timeout_s=900):
    """Run a command to its end; its CPU counts, its output does not, unless it fails.

    Nothing here wakes up while it waits: that would be measured, too.
    """
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(argv, stdout=said, stderr=said, env={**os.environ, **(env or {})})
        late = threading.Timer(timeout_s, process.kill)
        late.start()
        _, status, usage = os.wait4(process.pid, 0)
        late.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - began
        said.seek(0)
        assert process.returncode == 0, f"{argv}: {process.returncode}\n{said.read()[-3000:].decode()}"
    return Used(usage.ru_utime + usage.ru_stime, wall_s)


@contextmanager
def load_server(*options):
    """The lean server with these options; yields its address."""
    argv = [sys.executable, str(HERE / "server.py"), *map(str, options)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(10)


def stats(url):
    """What the lean server counted."""
    with urllib.request.urlopen(f"{url}/stats", timeout=30) as reply:
        return json.load(reply)


def recipe(url, source, **generate):
    """A recipe of `lengths` that asks one server for what `peers.body_of` asks."""
    sampling = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 600, "seed": 42}
    asked = {"model": "fake", "endpoints": [{"kind": "openai", "base_url": url}], "sampling": sampling, **generate}
    tokenizer = "smollm2"  # is loaded to be checked, not used by what is measured here
    return {
        "workflow": "lengths", "source": {"path": str(source)}, "generate": asked, "slices": {"tokenizer": tokenizer}
    }  # fmt: skip


def ours(recipe_file, out, *, plain=False):
    """A command line that selects and asks, nothing more."""
    return [sys.executable, str(HERE / "ours.py"), str(recipe_file), str(out), *(["plain"] if plain else [])]


def select(recipe_file, out):
    """Make the prompts of a run, so that asking alone is what is measured next."""
    run([sys.executable, "-m", "promptmill", "lengths", "prompts", str(recipe_file), "--out", str(out)])
