"""What a length predictor is worth: a small discrete-event simulation of a serving queue.

Jobs arrive at random and wait for one of `slots` batch slots. A slot serves a job for one window (50 tokens, as in
ELIS, arXiv 2505.09142); then the job with the smallest key goes on, which may be another one:

- `fcfs`: the arrival, so a job runs to its end once it has begun;
- `predicted`: the predicted remaining tokens, asked anew at every window;
- `oracle`: the true remaining tokens.

All policies see the same arrivals. Jobs with equal keys go by arrival.

Not covered: the cost of asking the predictor, prefill, memory, and slots that slow each other down: a slot makes
`tokens_per_s` whatever the others do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from promptmill.errors import ConfigError, DataError
from promptmill.train.measure import Value

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Policy = Literal["fcfs", "predicted", "oracle"]
POLICIES: tuple[Policy, ...] = ("fcfs", "predicted", "oracle")


class SimulateOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the simulation.

    Attributes:
        arrival_rate: jobs a second; none sets it so that the jobs need the share `load` of all slots.
        load: share of the slots that the jobs need, where no arrival_rate is given.
        slots: jobs served at once.
        tokens_per_s: tokens a second that one slot makes.
        resume_s: seconds that a slot loses when it takes up a job that was set aside.
        window: tokens between two decisions, and between two predictions.
        jobs: jobs in one repeat, drawn from the answers.
        repeats: how many times, each with its own arrivals.
        seed: seed of arrivals and draws.
    """

    arrival_rate: float | None = None
    load: float = 0.9
    slots: int = 4
    tokens_per_s: float = 25.0
    resume_s: float = 0.0
    window: int = 50
    jobs: int = 500
    repeats: int = 20
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        for name in ("slots", "window", "jobs", "repeats"):
            if getattr(self, name) < 1:
                raise ConfigError(f"simulate.{name}: is {getattr(self, name)}. Give 1 or more.")
        for name in ("arrival_rate", "load", "tokens_per_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"simulate.{name}: is {value}. Give a number above 0.")
        if not 0 <= self.resume_s < float("inf"):
            raise ConfigError(f"simulate.resume_s: is {self.resume_s}. Give 0 or more.")


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy did to one list of jobs.

    Attributes:
        finished_s: when each job ended, in the order of the jobs.
        busy_s: seconds of work of all slots together.
        switches: how often a job was taken up that had been set aside.
    """

    finished_s: list[float]
    busy_s: float
    switches: int


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Completion times of one policy over all repeats, seconds from arrival to end, with 95 % intervals over repeats.

    Attributes:
        mean_s: mean.
        p99_s: 99th percentile.
        mean_gain: 1 - mean / mean of `fcfs` on the same arrivals; above 0 is faster.
        p99_gain: the same for the 99th percentile.
    """

    mean_s: Value
    p99_s: Value
    mean_gain: Value
    p99_gain: Value


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `compare`; `simulation.json`.

    Attributes:
        answers: how many answers the jobs were drawn from.
        mean_tokens: their mean length.
        arrival_rate: jobs a second.
        load: share of the slots that the jobs need.
        policies: completion times by policy.
        options: the options.
    """

    answers: int
    mean_tokens: float
    arrival_rate: float
    load: float
    policies: dict[str, Times]
    options: SimulateOptions


def simulate(
    lengths: Sequence[int],
    predictions: Sequence[Sequence[float]],
    options: SimulateOptions,
    policy: Policy,
    *,
    arrivals_s: Sequence[float],
) -> Served:
    """Serve jobs under one policy.

    Args:
        lengths: true tokens of each job.
        predictions: for each job, the predicted remaining tokens at 0, 1, 2 ... windows.
        options: slots, speed and window.
        policy: who goes first.
        arrivals_s: when each job arrives, not decreasing.

    Raises:
        DataError: the lists do not fit each other.
    """
    _check(lengths, predictions, options.window)
    if len(arrivals_s) != len(lengths) or any(b < a for a, b in pairwise(arrivals_s)):
        raise DataError(f"simulate: {len(lengths)} jobs need as many arrivals, in order. There are {len(arrivals_s)}.")
    key = _keys(lengths, predictions, policy, options.window)
    done = [0] * len(lengths)
    finished = [0.0] * len(lengths)
    waiting: list[tuple[float, int]] = []
    running: list[tuple[float, int]] = []  # (end of the window, job)
    paused_at = [-1.0] * len(lengths)
    busy, switches, arrived = 0.0, 0, 0
    while arrived < len(lengths) or running:
        now = min(running[0][0] if running else np.inf, arrivals_s[arrived] if arrived < len(lengths) else np.inf)
        while arrived < len(lengths) and arrivals_s[arrived] <= now:
            heapq.heappush(waiting, (key(arrived, 0), arrived))
            arrived += 1
        while running and running[0][0] <= now:
            _, job = heapq.heappop(running)
            done[job] = min(done[job] + options.window, lengths[job])
            if done[job] == lengths[job]:
                finished[job] = now
            else:
                paused_at[job] = now
                heapq.heappush(waiting, (key(job, done[job]), job))
        while waiting and len(running) < options.slots:
            _, job = heapq.heappop(waiting)
            resumed = done[job] > 0 and paused_at[job] < now  # not simply going on
            spent = min(options.window, lengths[job] - done[job]) / options.tokens_per_s + options.resume_s * resumed
            busy += spent
            switches += resumed
            heapq.heappush(running, (now + spent, job))
    return Served(finished_s=finished, busy_s=busy, switches=switches)


def compare(lengths: Sequence[int], predictions: Sequence[Sequence[float]], options: SimulateOptions) -> Simulation:
    """Serve the same random jobs and arrivals under every policy, `repeats` times.

    Args:
        lengths: true tokens of each answer, 1 or more.
        predictions: for each answer, the predicted remaining tokens at 0, 1, 2 ... windows.
        options: everything else.

    Raises:
        DataError: no answers, an empty one, or too few predictions for one.
    """
    _check(lengths, predictions, options.window)
    mean_tokens = float(np.mean(lengths))
    capacity = options.slots * options.tokens_per_s / mean_tokens
    rate = options.arrival_rate if options.arrival_rate is not None else options.load * capacity
    rng = np.random.default_rng(options.seed)
    means: dict[Policy, list[float]] = {policy: [] for policy in POLICIES}
    tails: dict[Policy, list[float]] = {policy: [] for policy in POLICIES}
    for _ in range(options.repeats):
        drawn = rng.integers(len(lengths), size=options.jobs)
        arrivals = np.cumsum(rng.exponential(1 / rate, size=options.jobs))
        job_lengths = [lengths[i] for i in drawn]
        job_predictions = [predictions[i] for i in drawn]
        for policy in POLICIES:
            served = simulate(job_lengths, job_predictions, options, policy, arrivals_s=arrivals.tolist())
            took = np.array(served.finished_s) - arrivals
            means[policy].append(float(took.mean()))
            tails[policy].append(float(np.quantile(took, 0.99)))
    picks = rng.integers(options.repeats, size=(2000, options.repeats))
    outcomes = {
        policy: Times(
            mean_s=_over_repeats(means[policy], picks),
            p99_s=_over_repeats(tails[policy], picks),
            mean_gain=_gain(means[policy], means["fcfs"], picks),
            p99_gain=_gain(tails[policy], tails["fcfs"], picks),
        )
        for policy in POLICIES
    }
    return Simulation(
        answers=len(lengths),
        mean_tokens=mean_tokens,
        arrival_rate=rate,
        load=rate / capacity,
        policies={str(policy): outcome for policy, outcome in outcomes.items()},
        options=options,
    )


def _keys(
    lengths: Sequence[int], predictions: Sequence[Sequence[float]], policy: Policy, window: int
) -> Callable[[int, int], float]:
    """(job, tokens done) -> what the queue is sorted by, smallest first; equal keys go by arrival."""
    if policy == "fcfs":
        return lambda _job, _done: 0.0
    if policy == "oracle":
        return lambda job, done: lengths[job] - done
    return lambda job, done: predictions[job][done // window]


def _check(lengths: Sequence[int], predictions: Sequence[Sequence[float]], window: int) -> None:
    if not lengths or len(lengths) != len(predictions):
        raise DataError(
            f"simulate: {len(lengths)} answers, {len(predictions)} lists of predictions. Give one for each."
        )
    for i, (length, predicted) in enumerate(zip(lengths, predictions, strict=True)):
        if length < 1:
            raise DataError(f"simulate: answer {i}: has {length} tokens. Leave it out.")
        needed = -(-length // window)
        if len(predicted) < needed or not np.isfinite(predicted).all():
            raise DataError(f"simulate: answer {i}: needs {needed} finite predictions, one every {window} tokens.")


def _over_repeats(values: Sequence[float], picks: npt.NDArray[np.int64]) -> Value:
    table = np.array(values)
    low, high = np.quantile(table[picks].mean(axis=1), [0.025, 0.975])
    return Value(value=float(table.mean()), low=float(low), high=float(high))


def _gain(values: Sequence[float], fcfs: Sequence[float], picks: npt.NDArray[np.int64]) -> Value:
    """1 - ratio of the means; repeats are drawn together, as both policies saw the same arrivals."""
    ours, theirs = np.array(values), np.array(fcfs)
    low, high = np.quantile(1 - ours[picks].mean(axis=1) / theirs[picks].mean(axis=1), [0.025, 0.975])
    return Value(value=float(1 - ours.mean() / theirs.mean()), low=float(low), high=float(high))
