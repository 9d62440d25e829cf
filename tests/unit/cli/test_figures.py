"""The figures on a terminal: whole at any width, and named truly where models differ."""

from pathlib import Path

import msgspec
import pytest

from promptmill.cli.figures import WIDTH, read_report, show_report
from promptmill.evaluate.comparisons import compare
from promptmill.evaluate.estimates import Graded, summarise
from promptmill.workflows.reporting import Report


def report_of(samples: dict[str, list[list[float]]]) -> Report:
    """A report of models, each with the values of its samples, problem by problem."""
    rows = [
        Graded(problem=f"p{problem}", category="maths", model=model, sample=sample, value=value, answer=str(value))
        for model, problems in samples.items()
        for problem, values in enumerate(problems)
        for sample, value in enumerate(values)
    ]
    return Report(
        problems=2, responses=len(rows), k=None, metrics={}, models=summarise(rows), comparisons=compare(rows)
    )


def test_one_model_is_one_table_with_numbers_on_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(report_of({"mill": [[1.0], [1.0]]}), by_category=True)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "         problems  responses               accuracy  truncated  unanswered  not gradable",
        "mill            2          2  100.0 % [34.2, 100.0]      0.0 %       0.0 %         0.0 %",
        "  maths         2          2  100.0 % [34.2, 100.0]      0.0 %       0.0 %         0.0 %",
        "In brackets: 95 % intervals, clustered by problem.",
    ]


def test_models_with_unlike_numbers_of_samples_are_shown_by_the_pass_at_k_that_both_have(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_report(report_of({"few": [[1.0, 0.0], [0.0, 0.0]], "many": [[1.0] * 4, [0.0] * 4]}), by_category=False)
    header = capsys.readouterr().out.splitlines()[1].split()
    assert header[3:5] == ["pass@2", "maj@k"]


def test_problems_that_stand_in_no_comparison_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(report_of({"one": [[1.0], [0.0]], "other": [[1.0]]}), by_category=False)
    out = capsys.readouterr().out
    assert "left out of its comparison: 1 at most." in out
    assert "p (Holm)" not in out  # one pair needs no correction


def test_a_narrow_terminal_gets_several_tables_and_no_line_is_wider(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = report_of({"a model": [[1.0, 0.0], [0.0, 0.0]], "日本語": [[1.0, 1.0], [0.0, 0.0]]})
    show_report(report, by_category=True)
    whole = capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the output for a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "70")
    show_report(report, by_category=True)
    narrow = capsys.readouterr().out
    assert 70 < max(map(len, whole.splitlines())) <= WIDTH
    assert max(map(len, narrow.splitlines())) <= 70
    assert sorted(set(narrow.split())) == sorted(set(whole.split()))


def test_the_summary_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    report = report_of({"mill": [[1.0], [0.0]]})
    (tmp_path / "summary.json").write_bytes(msgspec.json.encode(report))
    assert read_report(tmp_path / "summary.json") == report


def test_problems_without_a_response_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of({"mill": [[1.0]]})
    show_report(report, by_category=False)
    assert "1 of 2 problems have no response and count in no figure." in capsys.readouterr().out
    show_report(msgspec.structs.replace(report, models=[]), by_category=False)
    assert capsys.readouterr().out == "None of the 2 problems has a response: there are no figures.\n"
