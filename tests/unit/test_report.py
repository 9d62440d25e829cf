import sys

import msgspec
import numpy as np
import pytest

from promptmill.errors import MissingExtra
from promptmill.report import plot_lengths, plot_simulation
from promptmill.train.measure import measure
from promptmill.train.simulate import SimulateOptions, compare

pytest.importorskip("matplotlib", reason="needs the extra 'plots'")


@pytest.fixture
def report():
    actual = np.arange(40, dtype=np.float64) * 10
    test = measure(
        actual + 5,
        actual,
        dict.fromkeys(("mean", "prompt_length", "tokens_so_far"), actual + 50),
        prompts=[str(i % 8) for i in range(40)],
        n_tokens=np.repeat([0.0, 50, 100, 150, 200], 8),
        bucket_tokens=50,
        seed=1,
    )
    return {"test": msgspec.to_builtins(test)}


def test_a_length_report_is_drawn_with_its_figures(report, tmp_path):
    plot_lengths(report, tmp_path / "plots" / "report.svg")
    drawn = (tmp_path / "plots" / "report.svg").read_text()
    for text in ("40 rows of 8 prompts never trained on", "5.0", "50.0", "mean by tokens so far"):
        assert f"<!-- {text}" in drawn or text in drawn
    plot_lengths(report, tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_simulation_is_drawn_with_its_figures(tmp_path):
    options = SimulateOptions(slots=1, tokens_per_s=10, jobs=20, repeats=3, load=0.5)
    simulation = compare([50, 100], [[50.0], [100.0, 50.0]], options)
    plot_simulation(msgspec.to_builtins(simulation), tmp_path / "simulation.svg")
    drawn = (tmp_path / "simulation.svg").read_text()
    assert "load 50%, 3 repeats" in drawn
    assert f"({-simulation.policies['oracle'].mean_gain.value:+.0%})" in drawn
    assert f"{simulation.policies['fcfs'].mean_s.value:.1f} s" in drawn


def test_without_matplotlib_the_extra_is_named(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"a plot needs the extra 'plots'"):
        plot_lengths(report, tmp_path / "report.png")
