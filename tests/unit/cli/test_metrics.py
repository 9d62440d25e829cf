"""Prometheus text, read back by a strict reader of the format (version 0.0.4)."""

import math
import re

from promptmill.cli.metrics import exposition

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

STATUS = {
    "pid": 7, "time": "2026-01-02T03:04:05+0000", "stage": "generate", "total": 100, "reused": 40, "done": 9,
    "failed": 1, "truncated": 2, "in_flight": 16, "width": 32, "tokens": 812, "prompt_tokens": 90, "cost": 0.03,
    "elapsed_s": 12.5, "eta_s": None, "retries": 3, "paused": False,
    "limits": {"concurrency": "auto", "max_cost": 20.0, "max_tokens": None},
    "spent": {"cost": 0.03, "tokens": 902},
    "lanes": [
        {"name": 'a\\b"c\nd\x1b', "state": "cooling", "done": 9, "failed": 1, "errors": {"rate": 3}, "p50_s": 1.5,
         "p95_s": math.inf, "in_flight": 2, "width": 8, "tokens": 812, "cost": None},
        {"name": "same", "done": 1},
        {"name": "same", "done": 2},
    ],
}  # fmt: skip


def parse(text):
    """`{(name, ((label, value), ...)): number}` of a page that keeps every rule of the format."""
    assert text.endswith("\n")
    kinds, helps, samples, open_name = {}, set(), {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, said = line.removeprefix("# HELP ").partition(" ")
            assert NAME.fullmatch(name)
            assert said
            assert name not in helps, "one HELP a name"
            helps.add(name)
        elif line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ")
            assert name not in kinds, "one TYPE a name"
            assert kind in {"counter", "gauge"}
            assert (kind == "counter") == name.endswith("_total")
            kinds[name], open_name = kind, name
        else:
            name, inside, number = SAMPLE.fullmatch(line).groups()
            assert name == open_name, "samples stand together behind their TYPE"
            labels = LABEL.findall(inside or "")
            assert "".join(f'{label}="{value}"{end}' for label, value, end in labels) == (inside or "")
            key = (name, tuple((label, re.sub(r'\\[\\"n]', lambda m: ESCAPES[m[0]], v)) for label, v, _ in labels))
            assert key not in samples, "no sample twice"
            samples[key] = float(number)
    assert helps == set(kinds)
    return samples


def test_the_page_keeps_the_format_and_says_what_the_heartbeat_says():
    lane = ("lane", 'a\\b"c\nd\ufffd')
    samples = parse(exposition(STATUS, live=True))
    assert {
        (name.removeprefix("promptmill_"), *labels): value
        for (name, labels), value in samples.items()
        if not any(label == "lane" for label, _ in labels)
    } == {
        ("up",): 1,
        ("heartbeat_timestamp_seconds",): 1767323045,
        ("stage", ("stage", "generate")): 1,
        ("paused",): 0,
        ("elapsed_seconds",): 12.5,
        ("limit", ("kind", "max_cost")): 20,
        ("spent", ("kind", "cost")): 0.03,
        ("spent", ("kind", "tokens")): 902,
        ("requests_planned",): 100,
        ("requests_reused",): 40,
        ("requests_total", ("outcome", "completion")): 9,
        ("requests_total", ("outcome", "failure")): 1,
        ("truncated_total",): 2,
        ("retries_total",): 3,
        ("in_flight",): 16,
        ("width",): 32,
        ("tokens_total", ("direction", "prompt")): 90,
        ("tokens_total", ("direction", "completion")): 812,
        ("cost_total",): 0.03,
    }
    assert {
        (name.removeprefix("promptmill_lane_"), *labels[1:]): value
        for (name, labels), value in samples.items()
        if lane in labels
    } == {
        ("requests_total", ("outcome", "completion")): 9,
        ("requests_total", ("outcome", "failure")): 1,
        ("errors_total", ("kind", "rate")): 3,
        ("tokens_total",): 812,
        ("in_flight",): 2,
        ("width",): 8,
        ("state", ("state", "ok")): 0,
        ("state", ("state", "cooling")): 1,
        ("state", ("state", "out")): 0,
        ("state", ("state", "refused")): 0,
        ("state", ("state", "no quota")): 0,
        ("latency_seconds", ("quantile", "0.5")): 1.5,
        ("latency_seconds", ("quantile", "0.95")): math.inf,
    }


def test_lanes_of_the_same_name_are_told_apart():
    samples = parse(exposition(STATUS, live=True))
    done = {labels[0][1]: v for (name, labels), v in samples.items() if name == "promptmill_lane_requests_total"}
    assert (done["same"], done["same (2)"]) == (1, 2)


def test_a_run_without_a_heartbeat_has_a_page_too():
    assert exposition({}, live=False) == (
        "# HELP promptmill_up Whether a process works in the run folder.\n# TYPE promptmill_up gauge\npromptmill_up 0\n"
    )
