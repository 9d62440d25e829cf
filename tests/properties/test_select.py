"""What must hold of sources and selection for any rows."""

import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.io.items import iter_items
from promptmill.records import Prompt, stable_hash
from promptmill.select.dedup import Dedup, dedup
from promptmill.select.language import language
from promptmill.select.outliers import fences, outliers
from promptmill.select.pipeline import select
from promptmill.select.processed import write_processed
from promptmill.select.sample import sample
from promptmill.select.turns import turns
from promptmill.sources.chats import ChatRows, chats
from promptmill.sources.files import prompts

LIGHT = settings(max_examples=40)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FEW_TEXTS = st.lists(st.sampled_from(["a", " A", "b", "", "ß", "SS", "x" * 9, "y" * 90]) | TEXTS, max_size=30)
CHATS = st.lists(
    st.fixed_dictionaries(
        {
            "conversation_id": st.integers(0, 40).map(str),
            "conversation": st.lists(
                st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": TEXTS}),
                max_size=4,
            ),
            "language": st.sampled_from(["English", "en", "German", "unknown"]),
        }
    ),
    min_size=1,
    max_size=24,
)


def _prompts(texts):
    return [Prompt(id=f"p{n}", source=f"s:{n}", text=text) for n, text in enumerate(texts)]


def _kept(prompts, *steps):
    with tempfile.TemporaryDirectory() as work:
        return list(select(prompts, [(f"{n}", step) for n, step in enumerate(steps)], work=Path(work)).kept)


def _write(folder, rows, files):
    """The same rows in the same order, in so many files."""
    for number in range(files):
        part = rows[number * len(rows) // files : (number + 1) * len(rows) // files]
        text = "".join(json.dumps(row) + "\n" for row in part)
        (Path(folder) / f"part-{number:05d}.jsonl").write_text(text, encoding="utf-8")


@LIGHT
@given(CHATS, st.integers(1, 20), st.integers(0, 3), st.sampled_from(["first", "all", "conversation"]))
def test_the_result_does_not_depend_on_the_number_of_files(rows, n, seed, take):
    results = []
    for files in (1, 3, 8):
        with tempfile.TemporaryDirectory() as folder:
            _write(folder, rows, files)
            steps = [language(), sample(n=n, seed=seed), turns(take=take), dedup(), outliers()]
            results.append([(p.id, p.messages, p.meta) for p in _kept(chats(path=folder), *steps)])
    assert results[0] == results[1] == results[2]


@LIGHT
@given(CHATS, st.integers(1, 20), st.sampled_from(["", "turns"]))
def test_heads_and_whole_prompts_are_selected_alike(rows, n, after):
    with tempfile.TemporaryDirectory() as folder:
        for row in rows[::3]:
            row.pop("language")  # it is identified from the turns
        _write(folder, rows, 1)
        steps = [language(), sample(n=n), *([turns()] if after else [])]
        whole = list(chats(path=folder))
        assert _kept(chats(path=folder), *steps) == _kept(whole, *steps)
        assert [head.whole() for head in chats(path=folder).heads()] == whole
        assert [head.messages for head in chats(path=folder).heads()] == [p.messages for p in whole]


@LIGHT
@given(st.lists(st.integers(0, 60).map(str), max_size=60), st.integers(1, 30), st.integers(0, 9))
def test_a_sample_is_the_n_smallest_hashes_and_nested(ids, n, seed):
    rows = [Prompt(id=id_, source=f"s:{place}", text="x") for place, id_ in enumerate(ids)]
    order = sorted(range(len(ids)), key=lambda place: (stable_hash(seed, ids[place]), place))
    kept = [p.source for p in _kept(rows, sample(n=n, seed=seed))]
    assert kept == [f"s:{place}" for place in sorted(order[:n])]
    assert set(kept) <= {p.source for p in _kept(rows, sample(n=2 * n, seed=seed))}


@LIGHT
@given(st.lists(st.integers(0, 10**6), unique=True, max_size=60), st.randoms(use_true_random=False))
def test_a_sample_chooses_the_same_prompts_in_any_order(numbers, random):
    rows = [Prompt(id=str(number), source="s", text="x") for number in numbers]
    shuffled = random.sample(rows, len(rows))
    assert {p.id for p in _kept(rows, sample(n=10))} == {p.id for p in _kept(shuffled, sample(n=10))}


@LIGHT
@given(FEW_TEXTS, st.sampled_from([2, 5, 4_000_000]))
def test_dedup_keeps_the_first_of_each_folded_text_and_is_idempotent(texts, at_once):
    once = _kept(_prompts(texts), Dedup(at_once=at_once))
    first = {}
    for prompt in _prompts(texts):
        first.setdefault(prompt.text.strip().casefold(), prompt)
    assert once == list(first.values())
    assert _kept(once, dedup()) == once


@LIGHT
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=200), st.floats(0, 5))
def test_the_bounds_equal_those_of_numpy_to_the_last_bit(lengths, k):
    q1, q3 = np.percentile(np.log1p(lengths), [25, 75])
    counts = {length: lengths.count(length) for length in lengths}
    assert fences(counts, k) == (q1 - k * (q3 - q1), q3 + k * (q3 - q1))


@LIGHT
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=40), st.floats(0, 3))
def test_outliers_keeps_exactly_what_lies_within_the_bounds(lengths, k):
    logs = np.log1p(lengths)
    q1, q3 = np.percentile(logs, [25, 75])
    inside = (logs >= q1 - k * (q3 - q1)) & (logs <= q3 + k * (q3 - q1))
    kept = _kept(_prompts(["x" * length for length in lengths]), outliers(k=k))
    assert [p.id for p in kept] == [f"p{n}" for n in np.flatnonzero(inside)]


@LIGHT
@given(st.lists(TEXTS, max_size=10))
def test_a_processed_file_gives_back_its_texts(texts):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "processed_dataset.json"
        assert write_processed(path, _prompts(texts)) == len(texts)
        assert json.loads(path.read_text(encoding="utf-8")) == {"prompts": texts, "count": len(texts)}
        assert not texts or [p.text for p in prompts(path=str(path))] == texts


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@LIGHT
@given(st.lists(JSON, max_size=6), st.sampled_from([None, 1, 4]), st.booleans())
def test_an_array_is_split_into_its_items(values, indent, ascii_only):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_text(json.dumps(values, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
        assert [json.loads(item) for _, item in iter_items(path)] == values
        path.write_text(json.dumps({"count": len(values), "prompts": values}, indent=indent), encoding="utf-8")
        assert [json.loads(item) for _, item in iter_items(path)] == values


@LIGHT
@given(CHATS)
def test_the_fast_and_the_full_way_read_the_same(rows):
    reader = ChatRows()
    for row in rows:
        line = json.dumps(row).encode()
        assert reader.read(line, "s:1") == reader._read_any(line, "s:1")
