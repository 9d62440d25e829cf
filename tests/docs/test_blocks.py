"""The commands and recipes of README and docs are run, not only read."""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from promptmill import config
from promptmill.cli.recipes import recipe_of
from promptmill.testing import fake_server

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MILL = [sys.executable, "-m", "promptmill"]


def blocks(page, language):
    fences = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for found, text in fences if found == language]


EXTEND = ROOT / "docs" / "extend.md"  # its files are found by the comment in their first line
FILES = {block.split("\n", 1)[0].removeprefix("# "): block for block in blocks(EXTEND, "python")}


def run(command, folder, **more):
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, check=False, env=os.environ | more
    )


@pytest.mark.parametrize("page", [page for page in PAGES if page != EXTEND], ids=lambda page: page.name)
def test_every_recipe_in_the_pages_is_whole(page):
    for text in blocks(page, "yaml"):
        tree = yaml.safe_load(text)
        if isinstance(tree, dict) and "generate" in tree and "workflow" not in tree:
            tree = {"workflow": "lengths", "source": {"kind": "prompts", "path": "prompts.json"}, **tree}
        if isinstance(tree, dict) and "workflow" in tree:
            name, recipe = recipe_of(config.Document(tree, {}, page.name))
            assert recipe.workflow == name


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
                names = words[1:3] if words[1] in {"answers", "batch", "lengths"} else words[1:2]
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


@pytest.fixture
def my_mill(tmp_path):
    """The package that docs/extend.md builds, with its entry points, as `pip install -e .` would make it known."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (text,) = blocks(EXTEND, "toml")
    project = tomllib.loads(text)["project"]
    info = tmp_path / "my_mill-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, entries in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in entries.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines))
    more = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "src")]),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    return tmp_path, more, project["entry-points"]


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_extend_page_runs(my_mill, name):
    folder, more, _ = my_mill
    done = run([sys.executable, "-m", name.removesuffix(".py").replace("/", ".")], folder, **more)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


TRAINED = ROOT / "docs" / "lengths.md"  # its block loads a predictor, which takes minutes to train


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p not in (EXTEND, TRAINED) and blocks(p, "python")], ids=lambda page: page.name
)
def test_every_python_block_of_the_other_pages_runs(tmp_path, page):
    for number, text in enumerate(blocks(page, "python")):
        (tmp_path / f"block_{number}.py").write_text(text)
        done = run([sys.executable, f"block_{number}.py"], tmp_path)
        assert done.returncode == 0, done.stderr


def test_what_the_extend_page_publishes_is_listed_with_its_options(my_mill):
    folder, more, groups = my_mill
    for group, entries in groups.items():
        done = run([*MILL, "list", group.removeprefix("promptmill.")], folder, **more)
        assert done.returncode == 0, done.stderr
        for name in entries:
            assert f"\n{name}: " in f"\n{done.stdout}"


def test_the_recipe_of_the_extend_page_runs_with_its_own_parts(my_mill):
    folder, more, _ = my_mill
    text = blocks(EXTEND, "yaml")[0]
    (folder / "mine.yaml").write_text(text)
    with sqlite3.connect(folder / "questions.db") as made:
        made.execute("CREATE TABLE questions (id, text)")
        made.executemany(
            "INSERT INTO questions VALUES (?, ?)", [(1, "Why is the sky blue?"), (2, "Why?"), (3, "Who was he?")]
        )
    made.close()
    done = run([*MILL, "lengths", "run", "mine.yaml", "--out", "mine", "--rows_per_part", "1"], folder, **more)
    assert done.returncode == 0, done.stderr
    assert "long_enough: 3 -> 2 {'too few words': 1}" in done.stderr
    assert "generate: 4 of 4 requests to send" in done.stderr
    assert (folder / "mine" / "exports" / "vllm_results_training.jsonl").stat().st_size


def test_an_extractor_and_a_metric_of_the_extend_page_grade_a_file(my_mill):
    folder, more, _ = my_mill
    row = {"question": "How many?", "answer_correct": "100", "responses": [{"full_response": "I count.\n104"}]}
    (folder / "theirs.jsonl").write_text(json.dumps(row) + "\n")
    grade = yaml.safe_load(blocks(EXTEND, "yaml")[1])["grade"]
    flags = [word for key, use in grade.items() for word in ("--set", f"{key}={json.dumps(use)}")]
    done = run([*MILL, "answers", "extract", "--input", "theirs.jsonl", *flags], folder, **more)
    assert done.returncode == 0, done.stderr
    (response,) = json.loads((folder / "theirs_processed.jsonl").read_text())["responses"]
    assert (response["extracted_answer"], response["is_correct"], response["metric"]) == ("104", True, "near")
