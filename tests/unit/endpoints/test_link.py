"""Addresses, waits and questions asked once."""

import asyncio
import email.utils
import time

import pytest

from promptmill.endpoints.link import Address, Link, Once, retry_after_s
from promptmill.errors import ConfigError


@pytest.mark.parametrize(
    ("base_url", "api", "root"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000/v1", "http://[::1]:8000"),
        ("https://api.example.org/openai/v1", "https://api.example.org/openai/v1", "https://api.example.org/openai"),
        ("https://x.org/v1beta/openai/", "https://x.org/v1beta/openai", "https://x.org/v1beta/openai"),
        ("https://x.org/api/paas/v4", "https://x.org/api/paas/v4", "https://x.org/api/paas/v4"),
        ("https://x.org/proxy?api-version=2", "https://x.org/proxy/v1", "https://x.org/proxy"),
    ],
)
def test_an_address_gets_v1_unless_it_names_a_version(base_url, api, root):
    address = Address(base_url)
    assert (address.api, address.root) == (api, root)


def test_a_query_is_sent_and_not_shown():
    link = Link("https://x.org/?api-version=2", api_key_env=None, timeout_s=1, transport=None)
    assert link.address.query == "?api-version=2"
    assert link.shown == "https://x.org"


@pytest.mark.parametrize("base_url", ["", "127.0.0.1:8000", "localhost", "ftp://x", "http://", "http://x:99999"])
def test_what_is_no_address_is_an_error_with_an_example(base_url):
    with pytest.raises(ConfigError, match=r"base_url: .*http://127\.0\.0\.1:8000"):
        Address(base_url)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="api_key_env") as caught:
        Address("https://me:hunter2@x.org")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan")])
def test_a_deadline_is_a_number_above_zero(timeout_s):
    with pytest.raises(ConfigError, match="timeout_s"):
        Link("http://x", api_key_env=None, timeout_s=timeout_s, transport=None)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "١٢"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, wait_s):
    assert retry_after_s(headers) == wait_s


def test_a_date_in_the_future_is_the_time_until_then():
    wait_s = retry_after_s({"retry-after": email.utils.formatdate(time.time() + 100, usegmt=True)})
    assert 50 < wait_s <= 101


def test_many_who_ask_at_the_same_time_ask_once_and_a_failed_question_is_asked_again():
    asked = []

    async def question():
        asked.append(1)
        await asyncio.sleep(0.01)
        if len(asked) == 1:
            raise ConfigError("not yet")
        return 5

    async def go():
        once = Once(question)
        failed = await asyncio.gather(*[once.get() for _ in range(10)], return_exceptions=True)
        assert [str(error) for error in failed] == ["not yet"] * 10
        impatient = asyncio.create_task(once.get())
        patient = asyncio.create_task(once.get())
        await asyncio.sleep(0)
        impatient.cancel()
        return [await patient, *await asyncio.gather(*[once.get() for _ in range(10)])]

    assert asyncio.run(go()) == [5] * 11
    assert len(asked) == 2
