"""What a person sees; what a model wrote never reaches the terminal raw."""

import json
import time

import pytest

from promptmill import cli
from promptmill.cli.screen import Screen, first_rows, size

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x9b1m\r\u202egnp.exe"


def test_first_rows_are_short_printable_lines(tmp_path):
    path = tmp_path / "a_training.jsonl"
    rows = [{"input_prompt": HOSTILE, "output_prompt": "x" * 200, "remaining_tokens": n} for n in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = first_rows(path, 2)
    assert len(shown) == 2
    assert all(line.isprintable() for line in shown)
    assert f'"output_prompt": "{"x" * 16} ... {"x" * 16}", "remaining_tokens": 1' in shown[1]


@pytest.mark.parametrize(("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (1234567, "1.2 MB")])
def test_sizes_are_short(tmp_path, n_bytes, text):
    (tmp_path / "f").write_bytes(b"x" * n_bytes)
    assert size(tmp_path / "f") == text


def test_without_a_terminal_there_is_a_plain_line_every_30_seconds(capsys, caplog, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    facts = {"total": 100, "reused": 40, "done": 9, "failed": 1, "in_flight": 16, "requests_per_s": 2.04,
             "tokens_per_s": 211.6, "eta_s": None, "cost": 1.5}  # fmt: skip
    with Screen() as screen:
        now[0] += 29.9
        screen.progress(facts)
        assert capsys.readouterr().err == ""
        now[0] += 0.1  # half a minute
        screen.progress(facts)
        now[0] += 29.9
        screen.progress(facts)
    line = "generate: 49/100 done, 1 failed, 16 in flight, 2.0 requests/s, 212 tokens/s, cost 1.50"
    assert capsys.readouterr().err == f"{line}\n"


def test_an_error_line_is_one_line_without_terminal_escapes(tmp_path, capsys):
    assert cli.run(["check", str(tmp_path / "no\x1b[2J\nsuch.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "\x1b" not in error
