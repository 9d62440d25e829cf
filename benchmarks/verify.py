"""How fast answers are verified: plain numbers, and expressions beside math-verify alone.

    python benchmarks/verify.py [--numbers 100000] [--expressions 400] [--rounds 3]

Plain numbers go through the metric `math` as users call it, on one core; no pair comes twice, so no cache answers.
Expressions go through the same metric with one worker, in turn with `math_verify.parse` and `verify` in a process of
their own (their time limits switched off, which is their faster mode). Two loads: every pair new, and eight answers to
each reference, as sampling gives them. Both sides are warm before the clock starts; CPU counts all processes. What the
two think of each pair is compared with what is known, since fast and wrong is no use.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

GOAL_NUMBERS = 20_000
TICK = os.sysconf("SC_CLK_TCK")


def number_pairs(n, seed):
    """Pairs of numbers in ten forms, and whether they are equal."""
    random_ = random.Random(seed)
    for step in range(n):
        value = random_.randrange(10**9) * 1000 + step % 1000
        cents = random_.randrange(100)
        said = value + (step % 2)
        forms = (
            (str(value), str(said)),
            (str(value), f"{said:,}"),
            (str(value), f"-{said}" if value != said else str(said)),
            (f"{value}.{cents:02}", f"{said}.{cents:02}0"),
            (f"${value:,}.{cents:02}", f"{said}.{cents:02}"),
            (f"{value}/{cents + 1}", rf"\frac{{{said}}}{{{cents + 1}}}"),
            (str(value), f"{said} apples"),
            (str(value), rf"\boxed{{{said}}}"),
            (f"{value}", f"{said}.0"),
            (f"{value}%", rf"{said}\%"),
        )
        yield (*forms[step // 2 % len(forms)], value == said)


def expression_pairs(n, answers_each, seed):
    """Pairs of expressions that must be computed, and whether they are equal."""
    random_ = random.Random(seed)
    pairs = []
    while len(pairs) < n:
        a, b, c = random_.sample(range(2, 200), 3)
        kinds = (
            (rf"{a}\sqrt{{{b}}}", lambda d, a=a, b=b: rf"\sqrt{{{a * a * b + d}}}"),
            (rf"\frac{{{a}\pi}}{{{b}}}", lambda d, a=a, b=b: rf"{a}\pi \cdot \frac{{1}}{{{b + d}}}"),
            (rf"x^2+{a}x+{b}", lambda d, a=a, b=b: rf"{b + d}+x({a}+x)"),
            (rf"({a}+x)({b}-y)", lambda d, a=a, b=b: rf"{a * b + d}-{a}y+{b}x-xy"),
            (rf"{a}-{b}i", lambda d, a=a, b=b: rf"-{b + d}i+{a}"),
            (rf"\frac{{x+{a}}}{{{b}}}", lambda d, a=a, b=b: rf"\frac{{x}}{{{b}}}+\frac{{{a + d}}}{{{b}}}"),
            (rf"2^{{{a}}}\cdot {b}", lambda d, a=a, b=b: rf"{b}\cdot 2^{{{a + d}}}"),
            (
                rf"\left(\sqrt{{{a}}}, {b}\right)",
                lambda d, a=a, b=b: rf"\left(\frac{{{a}}}{{\sqrt{{{a}}}}}, {b + d}\right)",
            ),
            (rf"y={a}x+{c}", lambda d, a=a, c=c: rf"y-{a}x={c + d}"),
        )
        gold, answer = kinds[len(pairs) // answers_each % len(kinds)]
        for each in range(answers_each):
            difference = each // 2 if answers_each > 1 else len(pairs) // len(kinds) % 2
            if answers_each > 1 or each == 0:
                pairs.append((gold, answer(difference), difference == 0))
    return pairs[:n]


def ours(pairs):
    from promptmill.evaluate.math import math
    from promptmill.records import Reference

    metric = math(workers=1, limit_s=30)
    for gold, answer, _ in expression_pairs(18, 1, seed=1):
        metric(Reference(answer=gold), answer)
    before, began = cpu_of(metric.pids()) + time.process_time(), time.perf_counter()
    values = [metric(Reference(answer=gold), answer).value == 1.0 for gold, answer, _ in pairs]
    wall = time.perf_counter() - began
    cpu = cpu_of(metric.pids()) + time.process_time() - before
    metric.close()
    return wall, cpu, values


def theirs(pairs):
    from math_verify import parse, verify

    def same(gold, answer):
        return verify(
            parse(f"${gold}$", parsing_timeout=None), parse(f"${answer}$", parsing_timeout=None), timeout_seconds=None
        )

    for gold, answer, _ in expression_pairs(18, 1, seed=1):
        same(gold, answer)
    before, began = time.process_time(), time.perf_counter()
    values = [same(gold, answer) for gold, answer, _ in pairs]
    return time.perf_counter() - began, time.process_time() - before, values


def cpu_of(pids):
    """CPU seconds of other processes so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / TICK


def numbers(n):
    from promptmill.evaluate.math import math
    from promptmill.records import Reference

    metric = math(workers=1)
    pairs = [(Reference(answer=gold), answer, equal) for gold, answer, equal in number_pairs(n, seed=n)]
    began = time.process_time()
    wrong = sum((metric(reference, answer).value == 1.0) is not equal for reference, answer, equal in pairs)
    spent = time.process_time() - began
    assert metric.pids() == [], "plain numbers need no worker"
    return n / spent, wrong


def in_a_process(*arguments):
    done = subprocess.run(
        [sys.executable, __file__, "--child", *map(str, arguments)], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def child(kind, *arguments):
    if kind == "numbers":
        print(json.dumps(numbers(int(arguments[0]))))
    else:
        n, each, seed = map(int, arguments)
        pairs = expression_pairs(n, each, seed)
        wall, cpu, values = (ours if kind == "ours" else theirs)(pairs)
        wrong = sum(value is not equal for value, (_, _, equal) in zip(values, pairs, strict=True))
        print(json.dumps([wall, cpu, wrong]))


def compare(n, each, rounds):
    """Median wall and CPU of both sides, in turn, and how many verdicts were wrong."""
    found = {"ours": [], "math_verify": []}
    for seed in range(rounds):
        for kind, results in found.items():
            results.append(in_a_process(kind, n, each, 100 + seed))
    median = {
        kind: {
            "pairs_per_s": round(n / statistics.median(wall for wall, _, _ in results), 1),
            "cpu_ms_per_pair": round(1000 * statistics.median(cpu for _, cpu, _ in results) / n, 2),
            "wrong_in_all": sum(wrong for _, _, wrong in results),
        }
        for kind, results in found.items()
    }
    for kind, values in median.items():
        print(f"{n} pairs, {each} answers to a reference, {kind}: {values}", flush=True)
    return median


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--numbers", type=int, default=100_000)
    options.add_argument("--expressions", type=int, default=400)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    speeds = [in_a_process("numbers", given.numbers) for _ in range(given.rounds)]
    speed, wrong = statistics.median(speed for speed, _ in speeds), sum(wrong for _, wrong in speeds)
    print(f"plain numbers: {speed:.0f} pairs/s on one core, {wrong} wrong", flush=True)
    new = compare(given.expressions, 1, given.rounds)
    sampled = compare(given.expressions, 8, given.rounds)
    ratio = new["ours"]["pairs_per_s"] / new["math_verify"]["pairs_per_s"]
    result = {
        "name": "verify",
        "unit": "pairs/s of expressions, every pair new, one worker",
        "ours": new["ours"]["pairs_per_s"],
        "peers": {"math_verify": new["math_verify"]["pairs_per_s"]},
        "ratio": round(ratio, 2),
        "goal": f"plain numbers at least {GOAL_NUMBERS} pairs/s on one core, none wrong; expressions at least as fast "
        "as math-verify alone, in wall and CPU",
        "reached": speed >= GOAL_NUMBERS
        and wrong == 0
        and ratio >= 1
        and new["ours"]["cpu_ms_per_pair"] <= new["math_verify"]["cpu_ms_per_pair"],
        "plain_numbers_per_s": round(speed),
        "every_pair_new": new,
        "eight_answers_each": sampled,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
