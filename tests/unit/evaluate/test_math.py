"""Mathematical equality as a user calls it: the metric, its worker processes, its limits."""

# ruff: noqa: E501 - a table of broken texts

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from promptmill.errors import ConfigError, MissingExtra
from promptmill.evaluate.math import Math, math
from promptmill.evaluate.spelling import MAX_LENGTH
from promptmill.records import Reference

PAIRS = [
    msgspec.json.decode(line)
    for line in (Path(__file__).parents[2] / "data" / "equality.jsonl").read_bytes().split(b"\n")
    if line
]
STALLING = [r"9^{9^{9^{9}}}", "100000000!", r"\sum_{k=1}^{10^{9}} \frac{1}{k^{k}}"]


@pytest.fixture(scope="module")
def metric():
    """Verdicts of a slow machine are those of any other."""
    made = math(workers=2, limit_s=120)
    yield made
    made.close()


@pytest.fixture(scope="module")
def hurried():
    """For answers that may stall."""
    made = math(workers=2, limit_s=1)
    yield made
    made.close()


def test_the_suite_has_enough_pairs_of_both_kinds():
    counts = Counter(pair["value"] for pair in PAIRS)
    assert len(PAIRS) >= 400
    assert counts[1.0] >= 150
    assert counts[0.0] >= 150


def test_every_labelled_pair_gets_its_verdict(metric):
    wrong = []
    for pair in PAIRS:
        if pair["value"] is not None:
            verdict = metric(Reference(answer=pair["gold"]), pair["answer"])
            if verdict.value != pair["value"]:
                wrong.append((pair["gold"], pair["answer"], verdict))
    assert wrong == []


@pytest.mark.parametrize("kind", sorted({pair["kind"] for pair in PAIRS} - {"hostile and broken"}))
def test_every_reference_of_the_suite_equals_itself(metric, kind):
    golds = {pair["gold"] for pair in PAIRS if pair["kind"] == kind}
    assert [gold for gold in golds if metric(Reference(answer=gold), gold).value != 1.0] == []


@pytest.mark.parametrize("answer", STALLING)
def test_an_answer_that_would_compute_for_ever_has_no_verdict_and_its_worker_is_replaced(answer):
    made = Math(limit_s=1, workers=1)
    verdict = made(Reference(answer="7"), answer)
    assert (verdict.value, verdict.method, verdict.detail) == (None, "math_verify", "no result within 1 s")
    assert not verdict.settled
    made._limit_s = 120
    assert made(Reference(answer=r"2\sqrt{3}"), r"\sqrt{12}").value == 1.0
    made.close()


def test_several_threads_are_judged_at_once_and_none_gets_the_verdict_of_another(metric):
    wrong = []

    def judge(n):
        for step in range(5):
            square = (n * 7 + step) ** 2 + 1
            right = metric(Reference(answer=rf"\sqrt{{{square}}}"), rf"\frac{{{square}}}{{\sqrt{{{square}}}}}")
            other = metric(Reference(answer=rf"\sqrt{{{square}}}"), rf"\sqrt{{{square + 1}}}")
            if (right.value, other.value) != (1.0, 0.0):
                wrong.append((n, step, right, other))

    threads = [threading.Thread(target=judge, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_under_asyncio_a_stalled_answer_does_not_stop_the_others():
    made = Math(limit_s=1000, workers=2)

    async def judge():
        stalled = asyncio.create_task(asyncio.to_thread(made, Reference(answer="8"), STALLING[0]))
        others = [await asyncio.to_thread(made, Reference(answer=f"{n}+x"), f"x+{n}") for n in range(10)]
        still = not stalled.done()
        while not stalled.done():  # its worker has not taken it yet, or ends now
            (busy,) = set(made._pool._running.slots) - set(made._pool._running.free.queue) or [None]
            if busy and busy.pid:
                with contextlib.suppress(ProcessLookupError):  # of the last turn, and nobody has noticed yet
                    os.kill(busy.pid, signal.SIGKILL)
            await asyncio.sleep(0.1)
        return still, [verdict.value for verdict in others], stalled.result()

    still, values, stalled = asyncio.run(asyncio.wait_for(judge(), 240))
    assert still
    assert values == [1.0] * 10
    assert (stalled.value, stalled.detail) == (None, "its worker ended: out of memory")
    made.close()


HOSTILE = [
    "__import__('os').system('touch {canary}')",
    "open('{canary}', 'w')",
    r"\text{{__import__('os').system('touch {canary}')}}",
    r"$__import__('os').system('touch {canary}')$",
    "1+__import__('os').system('touch {canary}')",
    "(lambda: __import__('pathlib').Path('{canary}').touch())()",
    "eval('__import__(\\'os\\').system(\\'touch {canary}\\')')",
    r"\sqrt{{__import__('os').system('touch {canary}')}}",
    "x.__class__.__base__.__subclasses__()",
    'sympify(\'open("{canary}","w")\')',
    r"\operatorname{{exec}}(open('{canary}','w'))",
    "Symbol('x', **__import__('os').system('touch {canary}'))",
    r"\input{{{canary}}}",
    r"\write18{{touch {canary}}}",
    "`touch {canary}`",
    "$(touch {canary})",
]


def test_no_answer_is_ever_run(hurried, tmp_path):
    canary = tmp_path / "canary"
    for text in HOSTILE:
        answer = text.format(canary=canary)
        for gold in ("5", r"\sqrt{5}", "x+1"):
            assert hurried(Reference(answer=gold), answer).value in {0.0, None}
            hurried(Reference(answer=answer), gold)
    assert not canary.exists()


BROKEN = [
    "", " ", "\\", "\\\\", "{", "}", "{{{{", "}}}}", "\\frac", "\\frac{", "\\frac{1}", "\\sqrt", "\\sqrt[", "$", "$$", "$$$",
    "\\begin{pmatrix}", "\\end{pmatrix}", "\\begin{pmatrix} 1 & 2 \\\\ 3", "(", ")", "([{", "1,", ",1", ",,,", "=", "==",
    "x=", "=x", "1/0", "\\frac{1}{0}", "0/0", "\\infty-\\infty", "\\left(", "\\boxed{", "\\boxed{\\boxed{1}", "\x00", "\ud7ff", "\ud83d",
    "1e", "e5", "1e99999999", "-" * 50, "(" * 500, "{" * 500 + "}" * 500, "\\frac" * 200, "\\sqrt" * 200, "9" * 3000,
    "1" + ",111" * 300, "^" * 20, "_" * 20, "\\pm", "\\pm\\pm\\pm1", "\\cup", "1\\cup", "%", "%%", "5%%", "$5$5$", "\u200b5",
    "\\text{", "\\text{\\text{a}", "١٢٣", "Ⅷ", "½½", "∞∞", "<", "<<", "1<", "<1", "1<x<", "x<y<z", "\\le\\le", "nan", "None",
    "x_{", "\\boxed{" * 250, "\\boxed{1}" * 150, "\\ne\\ne(Ux\\circ", "x\\ne1\\ne2", "1" * 1999, "\u00b2" * 1999, "\\text{" * 300, "," * 1999, "a" * 1999, "+".join(["x"] * 500), "\\\\" * 300, "&" * 100, "1:2:3:4", "[[[[1]]]]", "[[1],[2,3]]", "\\{\\{1\\},2\\}",
]  # fmt: skip


def test_broken_answers_are_wrong_or_not_graded_and_never_raise(hurried):
    for answer in BROKEN:
        for gold in ("5", r"\{1, \sqrt{2}\}", "x<3", "Evelyn"):
            assert hurried(Reference(answer=gold), answer).value in {0.0, None}, (gold, answer)
            hurried(Reference(answer=answer), gold)


def test_a_text_that_is_too_long_is_not_graded_unless_it_is_the_same(metric):
    text = "x+" * MAX_LENGTH
    assert metric(Reference(answer=text), text).value == 1.0
    verdict = metric(Reference(answer="x"), text)
    assert (verdict.value, verdict.detail) == (None, "longer than 2000 characters: no short answer")


@pytest.mark.parametrize(
    ("gold", "answer", "method", "settled"),
    [
        ("5", "6", "number", True),
        ("(1,2)", "(2,1)", "spelling", True),
        ("x^2", "x^3", "math_verify", True),
        ("November 25, 2018", "2018", "spelling", False),
        ("Evelyn", "her sister", "spelling", False),
        ("12 apples", "12 oranges", "number", False),
    ],
)
def test_a_wrong_answer_tells_who_decided_and_whether_words_leave_room_for_doubt(metric, gold, answer, method, settled):
    verdict = metric(Reference(answer=gold), answer)
    assert (verdict.value, verdict.method, verdict.settled) == (0.0, method, settled)
    assert verdict.detail


def test_any_alias_counts(metric):
    reference = Reference(answer=r"\frac{\pi}{4}", aliases=("45^\\circ", r"\arctan 1"))
    assert metric(reference, "45 degrees").value == 1.0
    assert metric(reference, r"\pi/4").value == 1.0
    assert metric(reference, r"\pi/5").value == 0.0


def test_a_worded_alias_leaves_room_for_a_judge_where_the_computed_one_differs(metric):
    verdict = metric(Reference(answer=r"2\sqrt{2}", aliases=("the diagonal",)), r"\sqrt{9}")
    assert (verdict.value, verdict.method, verdict.settled) == (0.0, "math_verify", False)


def test_without_a_reference_there_is_no_verdict(metric):
    verdict = metric(Reference(), "5")
    assert (verdict.value, verdict.settled) == (None, False)
    assert metric(Reference(answer=" "), "5").value is None


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"limit_s: is 0\. Give seconds above 0"):
        math(limit_s=0)
    with pytest.raises(ConfigError, match="workers: is -1"):
        math(workers=-1)


SCRIPT = """
import sys
from promptmill.evaluate.math import math
from promptmill.records import Reference

metric = math(workers=1, limit_s=120)
assert metric(Reference(answer="2\\\\sqrt{3}"), "\\\\sqrt{12}").value == 1.0
assert metric(Reference(answer="5"), "\\\\text{apple}").value == 0.0
heavy = {"sympy", "math_verify", "latex2sympy2_extended", "antlr4", "mpmath"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}), *metric.pids(), flush=True)
"""


def _run(code):
    environment = {**os.environ, "SECRET_CANARY": "sk-do-not-pass-on"}
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)


def _ends(pid, *, within_s=120.0):
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_the_main_process_never_loads_an_algebra_system_and_its_workers_end_with_it():
    process = _run(SCRIPT)
    loaded, *pids = process.communicate(timeout=120)[0].strip().replace("[]", "none").split()
    assert loaded == "none"
    assert len(pids) == 2
    assert all(_ends(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_see_no_secrets_and_end_when_their_parent_is_killed_at_work():
    code = SCRIPT + "metric._limit_s = 1000\nmetric(Reference(answer='7'), '100000000!')\n"
    process = _run(code)
    _, *pids = process.stdout.readline().strip().replace("[]", "none").split()
    until = time.monotonic() + 120
    while time.clock_gettime(~int(pids[1]) << 3 | 2) < 0.5 and time.monotonic() < until:  # what it has computed for
        time.sleep(0.01)
    for pid in pids:
        assert b"sk-do-not-pass-on" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert "Seccomp" in Path(f"/proc/{pid}/status").read_text()
    process.kill()
    process.wait(120)
    assert all(_ends(pid) for pid in pids)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"metric math needs the extra 'math'"):
        math()


def test_closing_ends_the_processes_and_the_next_call_starts_others():
    made = Math(limit_s=120, workers=1)
    assert made(Reference(answer="x+1"), "1+x").value == 1.0
    before = made.pids()
    made.close()
    assert all(_ends(pid) for pid in before)
    assert made(Reference(answer="x+2"), "2+x").value == 1.0
    assert not set(before) & set(made.pids())
    made.close()
