"""Options of `generate:` that no other test needs: each changes what a run does."""

import json

import pytest

ASKED = """
import json
from pathlib import Path

from promptmill.errors import Refused

HERE = Path(__file__).parent


async def answer(request):
    with (HERE / "asked.txt").open("a") as file:
        file.write(request.messages[0].content[0])
    if (HERE / "refuse").exists():
        raise Refused("not this one")
    return {"text": "fine", "prompt_tokens": 1, "completion_tokens": 1}
"""


@pytest.fixture
def function(tmp_path):
    """A recipe's own function, which notes the first letter of what it is asked."""
    (tmp_path / "answers.py").write_text(ASKED)
    return [{"kind": "function", "function": f"{tmp_path / 'answers.py'}:answer"}]


@pytest.fixture
def noted(tmp_path):
    def read():
        return (tmp_path / "asked.txt").read_text()

    return read


@pytest.mark.parametrize(("order", "asked"), [("prefix", "aaabbb"), ("source", "ababab")])
def test_prompts_that_begin_alike_are_asked_one_after_another_unless_the_order_is_the_source(
    mill, recipe, function, noted, tmp_path, order, asked
):
    prompts = [f"{letter * 600} {number}" for number in range(3) for letter in "ab"]
    path = recipe("unused", prompts=prompts, endpoints=function, concurrency=1, order=order)
    assert mill("lengths", "generate", path, "--out", tmp_path / "run").code == 0
    assert noted() == asked


def test_what_was_refused_is_asked_again_if_the_recipe_says_so(mill, recipe, function, noted, tmp_path):
    refuse = tmp_path / "refuse"
    refuse.touch()
    path, out = recipe("unused", prompts=["a", "b"], endpoints=function, concurrency=1), tmp_path / "run"
    assert mill("lengths", "generate", path, "--out", out).code == 1
    refuse.unlink()
    assert mill("lengths", "generate", path, "--out", out).code == 1
    assert noted() == "ab"
    assert mill("lengths", "generate", path, "--out", out, "--generate.retry_refused", "true").code == 0
    assert noted() == "abab"


def test_auto_finds_no_more_than_max_concurrency(mill, recipe, fake, tmp_path):
    with fake(latency_s="0.02") as url:
        path = recipe(url, prompts=[str(n) for n in range(60)], concurrency="auto", max_concurrency=3)
        assert mill("lengths", "generate", path, "--out", tmp_path / "run").code == 0
    status = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert 1 <= status["reached"] <= 3


def test_a_recipe_that_starts_a_server_names_no_other(mill, recipe, tmp_path):
    path = recipe("http://127.0.0.1:9")
    path.write_text(path.read_text() + "serve: {kind: llama.cpp, model: smollm2}\n")
    said = mill("lengths", "generate", path, "--out", tmp_path / "run")
    assert said.code == 2
    assert (
        "serve: the server that it starts is asked, and no other. Take out generate.endpoints or serve." in said.error
    )
