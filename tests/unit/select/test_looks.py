"""sample, dedup and outliers: steps that look at every prompt first."""

import json
from pathlib import Path

import numpy as np
import pytest

from promptmill.errors import ConfigError
from promptmill.records import Message, Prompt, stable_hash
from promptmill.select.dedup import Dedup, dedup
from promptmill.select.outliers import fences, outliers
from promptmill.select.pipeline import select
from promptmill.select.sample import sample


def _texts(*texts):
    return [Prompt(id=f"p{n}", source=f"s:{n}", text=text) for n, text in enumerate(texts)]


def _run(step, prompts, work):
    selection = select(prompts, [("step", step)], work=work)
    return [prompt.id for prompt in selection.kept], selection.report[0]["dropped"]


def test_a_sample_keeps_the_smallest_hashes_in_the_order_of_the_source(tmp_path):
    prompts = _texts(*"x" * 10_000)
    smallest = sorted(prompts, key=lambda p: stable_hash(42, p.id))[:500]
    expected = [p.id for p in prompts if p in smallest]
    assert _run(sample(n=500), prompts, tmp_path) == (expected, {"not sampled": 9500})
    assert _run(sample(n=500, seed=43), prompts, tmp_path)[0] != expected


def test_a_sample_that_is_larger_than_the_set_is_the_set(tmp_path):
    prompts = _texts("a", "b", "c")
    for n in (3, 4, 11_000):
        assert _run(sample(n=n), prompts, tmp_path) == (["p0", "p1", "p2"], {})
    assert _run(sample(n=1), [], tmp_path) == ([], {})


def test_of_equal_ids_the_first_are_sampled(tmp_path):
    prompts = [Prompt(id="same", source=f"s:{n}", text="x") for n in range(5)]
    kept = select(prompts, [("sample", sample(n=2))], work=tmp_path).kept
    assert [p.source for p in kept] == ["s:0", "s:1"]


def test_the_sample_drops_most_prompts_while_looking():
    look = sample(n=100)
    look.begin(Path())
    reasons = [look.observe(prompt) for prompt in _texts(*"x" * 50_000)]
    assert reasons.count(None) < 3000


def test_of_duplicates_the_first_stays(tmp_path):
    prompts = [
        *_texts("Hello", "  hello\n", "HELLO", "hello!", "Straße", "STRASSE"),
        Prompt(id="m", source="s:6", messages=(Message(role="user", content="hellO"),)),
    ]
    assert _run(dedup(), prompts, tmp_path) == (["p0", "p3", "p4"], {"duplicate": 4})
    assert _run(dedup(), [], tmp_path) == ([], {})


def test_dedup_in_many_slices_is_dedup_in_one(tmp_path):
    prompts = _texts(*(str(n * n % 701) for n in range(3000)))
    first = {}
    for prompt in prompts:
        first.setdefault(prompt.text, prompt.id)
    for at_once in (97, 1000, 4_000_000):
        assert _run(Dedup(at_once=at_once), prompts, tmp_path)[0] == list(first.values())


def test_a_look_can_be_used_again(tmp_path):
    prompts = _texts("a", "A", "b" * 1000, *("c" * n for n in range(5, 15)))
    for step in (sample(n=3), dedup(), outliers()):
        assert _run(step, prompts, tmp_path) == _run(step, prompts, tmp_path)


def test_outliers_are_dropped_beyond_the_bounds_and_kept_on_them(tmp_path):
    lengths = [*range(100, 120), 1, 10_000]
    prompts = _texts(*("x" * n for n in lengths))
    assert _run(outliers(), prompts, tmp_path)[1] == {"too short": 1, "too long": 1}
    assert _run(outliers(k=100), prompts, tmp_path)[1] == {}
    # k = 0 keeps what lies between the quartiles, themselves included: 5 values, quartiles are the 2nd and 4th
    assert _run(outliers(k=0), _texts("a", "aa", "aaa", "aaaa", "aaaaa"), tmp_path)[0] == ["p1", "p2", "p3"]


def test_bounds_are_those_of_numpy():
    lengths = [3, 3, 5, 8, 8, 8, 21, 400]
    q1, q3 = np.percentile(np.log1p(lengths), [25, 75])
    assert fences({3: 2, 5: 1, 8: 3, 21: 1, 400: 1}, 1.5) == (q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1))
    assert fences({7: 1}, 1.5) == (np.log1p(7), np.log1p(7))


def test_length_in_tokens_is_counted_whole_by_the_named_tokenizer(tmp_path):
    model = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"}
    definition = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None, "decoder": None, "model": model,
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition))
    # in characters the second text is the longest, in tokens the last
    prompts = _texts("a b a", "abababababababababababababab a b", "a b b", "b a b", "a a a", "a b a b a b a b a b a b")
    for name in (str(tmp_path), str(tmp_path / "tokenizer.json")):
        assert _run(outliers(unit="tokens", tokenizer=name), prompts, tmp_path / "w") == (
            ["p0", "p1", "p2", "p3", "p4"],
            {"too long": 1},
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": -1}, "k is -1. Set 0 or more"),
        ({"k": float("nan")}, "k is nan"),
        ({"method": "z"}, "no method 'z'"),
        ({"unit": "tokens"}, "unit is tokens, but there is no tokenizer"),
        ({"tokenizer": "x"}, "tokenizer is set, but unit is 'characters'"),
        ({"unit": "words", "tokenizer": "x"}, "tokenizer is set, but unit is 'words'"),
    ],
)
def test_options_of_outliers_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        outliers(**options)


def test_a_tokenizer_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"no tokenizer\.json in this folder"):
        outliers(unit="tokens", tokenizer=str(tmp_path))


def test_a_sample_of_none_is_refused():
    with pytest.raises(ConfigError, match=r"n is 0\. Set 1 or more"):
        sample(n=0)
