"""References to keys, the forms a variable may have, labels, and keys taken out of texts."""

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.endpoints.keys import Mask, label, list_keys, read_key
from promptmill.errors import ConfigError

SECRETS = ("first-key-0001", "second-key-0002", "third-key-0003")


@pytest.mark.parametrize(
    ("value", "references"),
    [
        ("first-key-0001", ["KEYS"]),
        ("  first-key-0001\n", ["KEYS"]),
        ('"first-key-0001"', ["KEYS"]),
        ("first-key-0001, second-key-0002", ["KEYS[0]", "KEYS[1]"]),
        ('"first-key-0001,second-key-0002"', ["KEYS[0]", "KEYS[1]"]),
        ('["first-key-0001"]', ["KEYS[0]"]),
        ('["first-key-0001", " second-key-0002 "]', ["KEYS[0]", "KEYS[1]"]),
        ('["first-key-0001", "first-key-0001", "third-key-0003"]', ["KEYS[0]", "KEYS[2]"]),
        ('{"a": "first-key-0001"}', ["KEYS[a]"]),
        ('{"a": ["first-key-0001", "second-key-0002"]}', ["KEYS[a][0]", "KEYS[a][1]"]),
        ('{"a": "first-key-0001,second-key-0002"}', ["KEYS[a][0]", "KEYS[a][1]"]),
    ],
)
def test_every_form_of_a_variable_gives_references_and_each_reference_its_key(monkeypatch, value, references):
    monkeypatch.setenv("KEYS", value)
    assert list_keys("KEYS") == references
    expected = [SECRETS[0], SECRETS[2] if references == ["KEYS[0]", "KEYS[2]"] else SECRETS[1]]
    assert [read_key(reference) for reference in references] == expected[: len(references)]


def test_of_several_services_one_is_named(monkeypatch):
    monkeypatch.setenv("KEYS", '{"a": "first-key-0001", "b": ["second-key-0002", "third-key-0003"]}')
    assert list_keys("KEYS", "a") == ["KEYS[a]"]
    assert list_keys("KEYS", "b") == ["KEYS[b][0]", "KEYS[b][1]"]
    assert [read_key("KEYS[a]"), read_key("KEYS[a][0]"), read_key("KEYS[b][1]")] == [
        "first-key-0001",
        "first-key-0001",
        "third-key-0003",
    ]


@pytest.mark.parametrize(
    ("value", "service", "message"),
    [
        (None, None, "KEYS is not set or empty. Export it first."),
        ("  ", None, "KEYS is not set or empty"),
        ("[]", None, "KEYS holds an empty list. Put keys into it."),
        ("{}", None, "KEYS holds an empty JSON object. Put keys into it."),
        ('{"a": []}', None, "KEYS holds an empty list"),
        ('["first-key-0001", ""]', None, "KEYS holds an empty key"),
        ("first-key-0001,,second-key-0002", None, "KEYS holds an empty key"),
        ('""', None, "KEYS holds an empty key"),
        ('["first-key-0001", 5]', None, "KEYS holds something that is no text where a key belongs"),
        ('{"a": {"b": "first-key-0001"}}', None, "KEYS holds something that is no text"),
        ('{"a": null}', None, "KEYS holds something that is no text"),
        ('["first-key-0001"', None, "KEYS holds JSON that cannot be read"),
        ("first-key-0001\nsecond-key-0002", None, "KEYS holds characters that no key has"),
        ("first-key-0001é", None, "KEYS holds characters that no key has"),
        ('{"a": "first-key-0001", "b": "second-key-0002"}', None, "KEYS holds several services. Name one of: 'a', 'b'"),
        ('{"a": "first-key-0001"}', "c", "KEYS holds no service 'c'. Name one of: 'a'"),
        ("first-key-0001", "c", "KEYS holds no services, so 'c' is not in it"),
    ],
)
def test_a_variable_without_usable_keys_is_named_and_no_part_of_its_value_is_shown(
    monkeypatch, value, service, message
):
    monkeypatch.delenv("KEYS", raising=False)
    if value is not None:
        monkeypatch.setenv("KEYS", value)
    with pytest.raises(ConfigError) as caught:
        list_keys("KEYS", service)
    assert message in str(caught.value)
    assert "-key-" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("value", "reference", "message"),
    [
        ("first-key-0001,second-key-0002", "KEYS", r"holds several keys. Name one: KEYS\[0\] to KEYS\[1\]"),
        ("first-key-0001,second-key-0002", "KEYS[2]", r"holds no key \[2\]. Name one: KEYS\[0\] to KEYS\[1\]"),
        ("first-key-0001", "KEYS[1]", r"holds no key \[1\]. Name one: KEYS\."),
        ("first-key-0001", "KEYS[a]", r"holds no key \[a\]"),
        ("first-key-0001", "KEYS[a][0]", r"holds no services. Write KEYS or KEYS\[0\]"),
        ('{"a": ["first-key-0001"]}', "KEYS[a][1]", r"holds no key \[1\]. Name one: KEYS\[a\]"),
        ('{"a": ["first-key-0001"]}', "KEYS[0]", "holds no service '0'. Name one of: 'a'"),
        ("first-key-0001", "KEYS[", "this is not the name of an environment variable"),
        ("first-key-0001", "", "this is not the name of an environment variable"),
    ],
)
def test_a_reference_to_nothing_says_what_there_is(monkeypatch, value, reference, message):
    monkeypatch.setenv("KEYS", value)
    with pytest.raises(ConfigError, match=message) as caught:
        read_key(reference)
    assert "-key-" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-canary0123456789abcdef", "hf_canaryGHIJKL0123456789", "ABCDEF0123456789ABCDEF01"])
def test_a_key_in_the_place_of_its_name_is_not_repeated(key):
    with pytest.raises(ConfigError, match=r"not the name|looks like a key") as caught:
        read_key(key)
    assert key not in str(caught.value)


def test_a_label_is_the_reference_and_a_short_hash_that_follows_the_key(monkeypatch):
    monkeypatch.setenv("KEYS", '["first-key-0001", "second-key-0002"]')
    assert label("KEYS[0]") == "KEYS[0] #815333"
    assert label("KEYS[1]") == "KEYS[1] #b49811"
    monkeypatch.setenv("KEYS", '["first-key-0001", "exchanged-key-0004"]')
    assert label("KEYS[0]") == "KEYS[0] #815333"
    assert label("KEYS[1]") != "KEYS[1] #b49811"


def escaped(key):
    """A key as servers in several languages would write it into an error."""
    go = json.dumps(key).translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&"})[1:-1]
    return [
        key,
        json.dumps(key)[1:-1],
        json.dumps(key).replace("/", "\\/")[1:-1],
        json.dumps(json.dumps(key)[1:-1])[1:-1],
        go,
        "".join(f"\\u{ord(c):04X}" for c in key),
        quote(key, safe=""),
        quote(key, safe="").replace("%2F", "%2f"),
        "".join(f"%{ord(c):02x}" for c in key),
        html.escape(key),
        "".join(f"&#{ord(c)};" for c in key),
    ]


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=60), st.integers(0, 10))
def test_a_long_key_is_taken_out_of_bodies_and_messages_in_every_spelling(key, way):
    body = b"before \xff " + escaped(key)[way].encode() + b" after"
    assert Mask([key]).body(body) == b"before \xff [key] after"
    assert Mask([key]).text(f"before {escaped(key)[way]} after") == "before [key] after"


def test_a_short_key_is_a_placeholder_that_stays_in_bodies_and_goes_from_messages():
    mask = Mask(["EMPTY", "abc"])
    body = b"The list is EMPTY, abc."
    assert mask.body(body) is body
    assert mask.text("The list is EMPTY, abc.") == "The list is [key], abc."


def test_a_body_without_the_key_is_the_same_object():
    body = b'{"text": "50%41 of \\u00e9"}'
    assert Mask(["sk-0123456789abcdef"]).body(body) is body
    assert Mask([]).body(body) is body
