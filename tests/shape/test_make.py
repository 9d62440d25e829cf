"""What is run again after a red suite: what was red in one that was run to its end, and nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
SUITE = """#!/bin/sh
case "$*" in
*--last-failed*) [ -e .cache/pytest/red ] ;;
*) mkdir -p .cache/pytest; touch .cache/pytest/red; exit {status} ;;
esac
"""


def make(folder, *targets):
    return subprocess.run(
        ["make", "-s", *targets], cwd=folder, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=240
    ).returncode


@pytest.mark.parametrize(
    ("status", "again"),
    [
        pytest.param(1, 0, id="some tests were red"),
        pytest.param(2, 2, id="it was interrupted"),
        pytest.param(3, 2, id="pytest broke"),
        pytest.param(137, 2, id="it was killed"),
    ],
)
def test_only_a_suite_that_was_run_to_its_end_is_mended_by_a_second_run(tmp_path, status, again):
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    for name, text in (("python", SUITE.format(status=status)), ("coverage", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name in ("quickstart.done", "test.done"):  # in this order: the second is made after the first
        (tmp_path / ".venv" / name).touch()
    shutil.copy(MAKEFILE, tmp_path)
    assert make(tmp_path, "test") == 2
    assert make(tmp_path, "again") == again
