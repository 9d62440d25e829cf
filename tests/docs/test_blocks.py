"""The commands and recipes of README and docs are run, not only read."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from promptmill import config
from promptmill.testing import fake_server
from promptmill.workflows.lengths import Lengths

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MILL = [sys.executable, "-m", "promptmill"]


def blocks(page, language):
    fences = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for found, text in fences if found == language]


def run(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_recipe_in_the_pages_is_whole(page):
    for text in blocks(page, "yaml"):
        tree = yaml.safe_load(text)
        if isinstance(tree, dict) and tree.get("workflow") == "lengths":
            assert config.check(config.Document(tree, {}, page.name), Lengths).workflow == "lengths"


@pytest.mark.parametrize("recipe", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_recipe_is_whole(recipe):
    done = run([*MILL, "check", str(recipe)], ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_promptmill_command_in_the_pages_is_known(page):
    for text in blocks(page, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["promptmill"]:
                names = words[1:3] if words[1:2] == ["lengths"] else words[1:2]
                done = run([*MILL, *names, "--help"], ROOT)
                assert done.returncode == 0, line
                for flag in [word for word in words if word.startswith("--")]:
                    assert flag in done.stdout, f"{page.name}: {flag} in: {line}"


def test_the_flags_of_the_readme_work_against_a_server(tmp_path):
    (tmp_path / "prompts.json").write_text('{"prompts": ["Name three rivers.", "Name two lakes."], "count": 2}')
    (text,) = [block for block in blocks(ROOT / "README.md", "sh") if "--server-url" in block]
    command = next(line for line in text.replace("\\\n", " ").splitlines() if line.startswith("promptmill"))
    with fake_server() as url:
        for old, new in {
            "http://127.0.0.1:8000": url,
            "Qwen/Qwen2.5-7B-Instruct": "fake",
            "./Qwen2.5-7B-Instruct": "smollm2",
        }.items():
            command = command.replace(old, new)
        done = run([*MILL, *shlex.split(command)[1:]], tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("results.json", "results_training.jsonl", "results.run"):
        assert (tmp_path / name).exists()


def test_the_reference_pages_are_what_the_code_says():
    done = run([sys.executable, "docs/generate.py", "--check"], ROOT)
    assert done.returncode == 0, "run: python docs/generate.py"
