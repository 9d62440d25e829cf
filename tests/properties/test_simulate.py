import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.train.simulate import SimulateOptions, simulate

workloads = st.lists(
    st.tuples(st.integers(1, 400), st.integers(0, 60), st.lists(st.floats(0, 1000), min_size=8, max_size=8)),
    min_size=1,
    max_size=25,
)
policies = st.sampled_from(["fcfs", "predicted", "oracle"])


def parts(workload):
    lengths = [length for length, _, _ in workload]
    arrivals = sorted(float(at) for _, at, _ in workload)
    return lengths, [predicted for _, _, predicted in workload], arrivals


@settings(max_examples=60)
@given(workloads, policies, st.integers(1, 4))
def test_every_job_ends_once_and_no_work_is_lost_or_made(workload, policy, slots):
    lengths, predictions, arrivals = parts(workload)
    options = SimulateOptions(slots=slots, tokens_per_s=10)
    served = simulate(lengths, predictions, options, policy, arrivals_s=arrivals)
    assert len(served.finished_s) == len(lengths)
    assert served.busy_s == pytest.approx(sum(lengths) / 10)
    for end, length, arrival in zip(served.finished_s, lengths, arrivals, strict=True):
        assert end >= arrival + length / 10 - 1e-9


@settings(max_examples=60)
@given(workloads, policies)
def test_one_slot_is_never_idle_while_a_job_waits(workload, policy):
    lengths, predictions, arrivals = parts(workload)
    options = SimulateOptions(slots=1, tokens_per_s=10)
    clock = 0.0
    for length, arrival in zip(lengths, arrivals, strict=True):
        clock = max(clock, arrival) + length / 10
    served = simulate(lengths, predictions, options, policy, arrivals_s=arrivals)
    assert max(served.finished_s) == pytest.approx(clock)  # the same for every policy that never idles


@settings(max_examples=60)
@given(workloads)
def test_with_one_slot_and_all_jobs_there_no_policy_has_a_smaller_mean_than_the_oracle(workload):
    lengths, predictions, _ = parts(workload)
    options = SimulateOptions(slots=1, tokens_per_s=10)
    there = [0.0] * len(lengths)
    total = {
        policy: sum(simulate(lengths, predictions, options, policy, arrivals_s=there).finished_s)
        for policy in ("fcfs", "predicted", "oracle")
    }
    assert total["oracle"] <= min(total["fcfs"], total["predicted"]) + 1e-6
    shortest_first = sorted(lengths)
    assert total["oracle"] == pytest.approx(sum(sum(shortest_first[: i + 1]) / 10 for i in range(len(lengths))))


@settings(max_examples=60)
@given(workloads, st.integers(1, 4), st.floats(0, 1000))
def test_with_equal_predictions_it_is_first_come_first_served(workload, slots, constant):
    lengths, _, arrivals = parts(workload)
    options = SimulateOptions(slots=slots, tokens_per_s=10)
    equal = [[constant] * 8] * len(lengths)
    predicted = simulate(lengths, equal, options, "predicted", arrivals_s=arrivals)
    assert predicted == simulate(lengths, equal, options, "fcfs", arrivals_s=arrivals)
