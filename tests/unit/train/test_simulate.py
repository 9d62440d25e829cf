import pytest

from promptmill.errors import ConfigError, DataError
from promptmill.train.simulate import SimulateOptions, compare, simulate

# one slot, 10 tokens a second, a decision every 50 tokens: one window is 5 s
ONE = SimulateOptions(slots=1, tokens_per_s=10, jobs=50, repeats=5)


def truth(lengths, window=50):
    return [[float(n - at) for at in range(0, n, window)] for n in lengths]


def test_first_come_first_served_runs_each_job_to_its_end():
    served = simulate([100, 20], truth([100, 20]), ONE, "fcfs", arrivals_s=[0, 1])
    assert served.finished_s == [10, 12]
    assert (served.busy_s, served.switches) == (12, 0)


def test_the_oracle_lets_a_short_job_pass_at_the_next_window():
    served = simulate([100, 20], truth([100, 20]), ONE, "oracle", arrivals_s=[0, 1])
    assert served.finished_s == [12, 7]  # job 0 works 0-5, job 1 5-7, job 0 7-12
    assert served.switches == 1


def test_the_predictor_is_asked_again_at_every_window():
    # at first job 0 looks short; after 50 tokens it is seen to be long, and job 1 goes first
    predictions = [[10, 90, 50], [60]]
    served = simulate([150, 40], predictions, ONE, "predicted", arrivals_s=[0, 0])
    assert served.finished_s == [19, 9]  # job 0 works 0-5, job 1 5-9, job 0 9-19


def test_taking_up_a_job_again_costs_what_the_option_says():
    options = SimulateOptions(slots=1, tokens_per_s=10, resume_s=0.5)
    served = simulate([100, 20], truth([100, 20]), options, "oracle", arrivals_s=[0, 1])
    assert served.finished_s == [12.5, 7]
    assert served.busy_s == 12.5


def test_two_slots_serve_two_jobs_at_once_and_a_third_waits():
    options = SimulateOptions(slots=2, tokens_per_s=10)
    served = simulate([100, 30, 40], truth([100, 30, 40]), options, "fcfs", arrivals_s=[0, 0, 0])
    assert served.finished_s == [10, 3, 7]


def test_an_idle_queue_waits_for_the_next_arrival():
    served = simulate([10, 10], truth([10, 10]), ONE, "fcfs", arrivals_s=[0, 100])
    assert served.finished_s == [1, 101]


def test_a_perfect_predictor_equals_the_oracle_and_beats_first_come_first_served():
    lengths = [30, 60, 400, 900, 45, 120]
    found = compare(lengths, truth(lengths), ONE)
    assert found.policies["predicted"] == found.policies["oracle"]
    assert found.policies["oracle"].mean_gain.low > 0
    assert found.policies["fcfs"].mean_gain.value == 0
    assert found.load == pytest.approx(0.9)
    assert found.arrival_rate == pytest.approx(0.9 * 10 / found.mean_tokens)


def test_the_same_seed_gives_the_same_figures_and_another_seed_gives_others():
    lengths = [30, 60, 400]
    again = SimulateOptions(slots=1, tokens_per_s=10, jobs=50, repeats=5, seed=7)
    assert compare(lengths, truth(lengths), ONE) == compare(lengths, truth(lengths), ONE)
    assert compare(lengths, truth(lengths), ONE).policies != compare(lengths, truth(lengths), again).policies


def test_a_given_arrival_rate_sets_the_load():
    found = compare([100], truth([100]), SimulateOptions(slots=2, tokens_per_s=10, arrival_rate=0.1, jobs=5, repeats=2))
    assert (found.arrival_rate, found.load) == (0.1, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("lengths", "predictions", "message"),
    [
        ([], [], "0 answers, 0 lists of predictions"),
        ([5], [], "1 answers, 0 lists"),
        ([0], [[1]], "answer 0: has 0 tokens"),
        ([51], [[1]], "answer 0: needs 2 finite predictions, one every 50 tokens"),
        ([5], [[float("nan")]], "answer 0: needs 1 finite predictions"),
    ],
)
def test_jobs_that_make_no_sense_are_one_clear_error(lengths, predictions, message):
    with pytest.raises(DataError, match=message):
        compare(lengths, predictions, ONE)


def test_arrivals_must_be_in_order():
    with pytest.raises(DataError, match="need as many arrivals, in order"):
        simulate([5, 5], [[5], [5]], ONE, "fcfs", arrivals_s=[1, 0])


@pytest.mark.parametrize(
    ("option", "value"),
    [("slots", 0), ("window", 0), ("jobs", 0), ("repeats", -1), ("load", 0), ("tokens_per_s", -1), ("resume_s", -0.1)],
)
def test_options_that_make_no_sense_are_refused_by_name(option, value):
    with pytest.raises(ConfigError, match=rf"simulate\.{option}: is {value}"):
        SimulateOptions(**{option: value})
