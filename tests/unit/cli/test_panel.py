"""The panel at the widths people have; nothing wraps, nothing is longer than 12 lines, nothing escapes."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from promptmill.cli.panel import clean, duration, money, panel, progress_line

FACTS = {"total": 100, "reused": 40, "done": 9, "failed": 1, "in_flight": 16, "requests_per_s": 2.04,
         "tokens_per_s": 211.6, "eta_s": 61.0}  # fmt: skip
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x9b1m\r\u202egnp.exe"


def lane(number, **more):
    return {"name": f"http://10.0.0.{number}:8000 KEYS#{number:04x}", "state": "ok", "until_s": None, "in_flight": 7,
            "width": 32, "done": 1234, "failed": 0, "errors": {}, "tokens": 9999, "cost": 0.1234, "p50_s": 1.21,
            "p95_s": 3.4, **more}  # fmt: skip


ALL = {
    **FACTS, "truncated": 12, "retries": 17, "width": 128, "cost": 0.03, "elapsed_s": 700, "paused": True,
    "limits": {"concurrency": "auto", "max_cost": 20.0, "max_tokens": 50000000, "max_requests": 900,
               "max_wall_s": 7200},
    "spent": {"cost": 0.0312, "tokens": 12345679, "requests": 50, "uncertain_cost": 0.0003},
    "waiting": ["3 requests wait for http://10.0.0.1:8000/v1 since 61 s " + "and so on " * 20, HOSTILE, "c", "d"],
    "lanes": [
        *[lane(n) for n in range(4, 24)],
        lane(1, state="cooling", until_s=12.3, failed=3, errors={"rate": 31, "timeout": 2}),
        lane(2, state="refused", errors={"auth": 1}),
        lane(3, name=f"日本語 {HOSTILE}" + "x" * 90, state="no quota"),
    ],
}  # fmt: skip


def drawn(facts, width):
    console = Console(width=width, file=io.StringIO(), record=True, highlight=False)
    console.print(panel(facts, width))
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 140, 300])
@pytest.mark.parametrize("facts", [FACTS, ALL, {**FACTS, "lanes": [lane(1)]}, {"total": 0}], ids=range(4))
def test_no_line_is_wider_than_the_terminal_and_there_are_at_most_12(facts, width):
    lines = drawn(facts, width)
    assert len(lines) <= 12
    assert all(lines)
    assert max(map(cell_len, lines)) <= width
    assert all(line.isprintable() for line in lines)


def test_the_panel_at_80_columns():
    assert drawn(ALL, 80) == [
        "generate ━━━━━━━━━━━━━━━━━━━━━━━━━━━                            50%  1m01s left",
        "49/100 done, 1 failed, 12 truncated, 16/128 in flight, 17 retries,",
        "2.0 requests/s, 212 tokens/s, cost 0.0312 of 20.00, perhaps 0.0003 more,",
        "tokens 12345679 of 50000000, sent 50 of 900, 11m40s of 2h00m",
        "paused: no request is started until 'promptmill resume'",
        "waiting: 3 requests wait for http://10....nd so on and so on and so on and so on",
        "waiting: \ufffd]0;owned\ufffd\ufffd[2J\ufffd[31mred\ufffd[0m\ufffd1m \ufffdgnp.exe",
        "and 2 more",
        "10.0.0.2:8000 KEYS#0002         refused      7/32 in flight  1234 done",
        "日本語 \ufffd]0;own...xxxxxxxxxxxxx  no quota     7/32 in flight  1234 done",
        "10.0.0.1:8000 KEYS#0001         cooling 12s  7/32 in flight  1234 done  3 failed",
        "and 20 more: 20 ok",
    ]


def test_a_wide_terminal_sees_more_of_each_lane():
    refused = lane(2, state="refused", errors={"auth": 1}, failed=3)
    assert drawn({**FACTS, "lanes": [refused, lane(4)]}, 160)[2] == (
        "10.0.0.2:8000 KEYS#0002  refused  7/32 in flight  1234 done  3 failed  p95 3.40s  cost 0.123  auth 1  "
        "p50 1.21s  9999 tokens"
    )


def test_the_last_lane_takes_the_line_that_would_say_one_more():
    assert len(drawn({**FACTS, "lanes": [lane(n) for n in range(9)]}, 80)) == 2 + 9
    assert drawn({**FACTS, "lanes": [lane(n) for n in range(10)]}, 80)[-1] == "and 2 more: 2 ok"


def test_the_line_counts_what_was_there_before():
    assert progress_line(FACTS) == (
        "generate: 49/100 done, 1 failed, 16 in flight, 2.0 requests/s, 212 tokens/s, 1m01s left"
    )
    assert progress_line({**FACTS, "eta_s": None}).endswith("212 tokens/s")


def test_the_line_says_what_is_not_as_it_should_be():
    line = progress_line(ALL)
    assert "cost 0.0312 of 20.00, perhaps 0.0003 more" in line
    assert "; paused; lane 10.0.0.2:8000 KEYS#0002 refused; lane 日本語 " in line
    assert "; lanes not ok: 3 of 23; waiting: 3 requests wait" in line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.00"), (0.0312, "0.0312"), (0.03124, "0.0312"), (0.5, "0.50"), (0.999, "0.999"),
        (0.00001234, "0.0000123"),
        (0.1, "0.10"), (1.0, "1.00"), (12.345, "12.35"), (1234.5, "1234.50"), (1e-12, "0.000000000001"),
    ],
)  # fmt: skip
def test_money_is_a_bare_number(amount, text):
    assert money(amount) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3725, "1h02m"), (86400, "24h00m")]
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_control_characters_of_a_model_are_replaced_and_text_stays():
    assert clean("naïve 日本語 \U0001f600\nline") == "naïve 日本語 \U0001f600\nline"
    shown = clean(HOSTILE)
    assert shown == "\ufffd]0;owned\ufffd\ufffd[2J\ufffd[31mred\ufffd[0m\ufffd1m\ufffd\ufffdgnp.exe"
    assert all(character.isprintable() for character in shown)
