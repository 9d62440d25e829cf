"""Every fault that the fake server knows, at every protocol: an error of its class, and the next attempt succeeds."""

from functools import partial

import pytest

from promptmill import errors
from promptmill.endpoints.fake import FakeOptions
from promptmill.endpoints.fake.answers import FAULTS, RIGHT
from promptmill.endpoints.llamacpp import llamacpp
from promptmill.endpoints.openai import openai
from promptmill.endpoints.tgi import tgi
from promptmill.testing import fake_server, fake_stats

REFUSED = {"400", "400-too-long", "400-filter", "404", "413", "422", "302"}
HANGS = {"timeout", "slow-head"}
LATE = {"408", "504", *HANGS}
NAMED = {"401": errors.AuthFailed, "403": errors.Forbidden, "error-200-429": errors.RateLimited}


def expected(fault):
    if fault in REFUSED:
        return errors.Refused
    if fault in LATE:
        return errors.Timeout
    if fault == "402":
        return errors.EndpointError  # the key's affair or the request's: see link
    if fault == "429-quota":
        return (errors.RateLimited, errors.AuthFailed)
    return NAMED.get(fault, errors.RateLimited if fault.startswith("429") else errors.Unavailable)


def make(kind, url, timeout_s):
    if kind == "openai":
        return openai(base_url=url, timeout_s=timeout_s, token_ids="never")
    if kind == "llamacpp":
        return llamacpp(base_url=url, timeout_s=timeout_s)
    return tgi(base_url=url, timeout_s=timeout_s, stream=kind == "tgi stream")


@pytest.mark.parametrize("kind", ["openai", "llamacpp", "tgi", "tgi stream"])
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in RIGHT])
def test_a_fault_becomes_an_error_of_its_class_and_the_next_attempt_succeeds(ask, give_up, raw, kind, fault):
    claims = "tgi" if kind.startswith("tgi") else "vllm"
    with fake_server(FakeOptions(script=f"{fault},ok", words="5-20", claims=claims)) as url:
        end = partial(give_up, is_so=lambda: fake_stats(url)["received"]) if fault in HANGS else ask
        with pytest.raises(expected(fault)) as caught:
            end(make(kind, url, 3600), raw())
        assert ask(make(kind, url, 120), raw()).text
        stats = fake_stats(url)
    text = str(caught.value)
    assert text.startswith(url)
    assert text.isprintable()
    assert (stats["received"], stats["answered"], stats["faults"]) == (2, 1, {fault: 1})


@pytest.mark.parametrize("kind", ["openai", "llamacpp", "tgi", "tgi stream"])
@pytest.mark.parametrize("fault", sorted(RIGHT))
def test_an_unusual_but_right_answer_is_an_answer(ask, raw, kind, fault):
    claims = "tgi" if kind.startswith("tgi") else "vllm"
    with fake_server(FakeOptions(script=fault, words="5-20", claims=claims, slow_s=0.1)) as url:
        got = [ask(make(kind, url, 120), raw()) for _ in range(2)]
        stats = fake_stats(url)
    assert got[0].text == got[1].text != ""
    assert (stats["received"], stats["answered"], stats["faults"]) == (2, 2, {fault: 1})


@pytest.mark.parametrize(("fault", "wait_s"), [("429-ms", 30), ("429-none", None), ("429-negative", None), ("529", 30)])
def test_the_time_to_wait_is_read_where_it_is_one(ask, raw, fault, wait_s):
    with fake_server(FakeOptions(script=fault, retry_after_s=30)) as url, pytest.raises(errors.EndpointError) as caught:
        ask(openai(base_url=url, token_ids="never"), raw())
    assert caught.value.retry_after_s == wait_s


def test_there_are_at_least_thirty_faults_with_a_meaning_each():
    assert len(FAULTS) >= 30
    assert all(FAULTS.values())
    assert set(FAULTS) >= RIGHT
