"""What must hold for every text, tokenizer and way of counting."""

import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from promptmill.derive.lengths import length_target, survival
from promptmill.derive.slice_files import write_slices
from promptmill.derive.slices import SliceOptions, cut_generated, cut_ids, cut_spans, cut_texts, points, slice_rows
from promptmill.records import Completion, Prompt
from promptmill.tokens import Tokenizer

# What escaping and cutting may trip over, beside what Hypothesis finds by itself.
HARD = [
    "\x00", "\x1f", "\x7f", '"', "\\", "/", "\n", "\r\n", "\u0085", "\u2028", "\u2029", "\ufeff", "\ufffd", "👩‍👩‍👧‍👦",
    "🏳️‍🌈", "🇩🇪", "e\u0301", "a\u0308\u0323", "\U0010ffff", "ᄀ각", "the the", "    ", "<|end|>", "</s>", "ß", "日本語",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(HARD), st.text(max_size=12)), max_size=12).map("".join)
STEPS = st.integers(1, 9)
KINDS = ["bytes", "trained", "nfc", "fallback"]


@cache
def tokenizer(kind):
    """Bytes without merges, BPE trained on a few words, the same with NFC, and SentencePiece-like byte fallback."""
    if kind == "fallback":
        vocabulary = {f"<0x{n:02X}>": n for n in range(256)} | {
            "▁": 256,
            "t": 257,
            "h": 258,
            "th": 259,
            "▁th": 260,
            "é": 261,
        }
        library = Library(models.BPE(vocab=vocabulary, merges=[("t", "h"), ("▁", "th")], byte_fallback=True))
        library.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        library.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        return Tokenizer(kind, library)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    library = Library(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    if kind == "nfc":
        library.normalizer = normalizers.NFC()
    if kind != "bytes":
        trainer = trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False
        )
        library.train_from_iterator(["the 👩‍👩‍👧‍👦 and the 日本語 é é the end"] * 4 + HARD, trainer)
    return Tokenizer(kind, library)


def check(rows, text, total, step):
    """The four properties."""
    assert all(text.startswith(row.output_prompt) for row in rows)
    assert all(row.number_of_output_tokens + row.remaining_tokens == total for row in rows)
    counts = [row.number_of_output_tokens for row in rows]
    assert counts == sorted(set(counts))
    lengths = [len(row.output_prompt) for row in rows]
    assert lengths == sorted(lengths)
    assert len(rows) == -(-total // step)
    assert not rows or (rows[-1].output_prompt, rows[-1].remaining_tokens) == (text, 0)


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS, step=STEPS)
def test_encoded_slices_are_prefixes_that_add_up(kind, text, step):
    (cuts,) = cut_texts([text], tokenizer(kind), step=step)
    check(slice_rows("p", cuts, step=step), text, cuts.total, step)
    assert cuts.total == len(tokenizer(kind).encode([text])[0])


@pytest.mark.parametrize("kind", ["bytes", "trained"])
@given(text=TEXTS, step=STEPS)
def test_pieces_and_spans_cut_alike(kind, text, step):
    (spans,) = tokenizer(kind).encode_spans([text])
    assert cut_texts([text], tokenizer(kind), step=step) == [cut_spans(text, spans, step=step)]


@given(ids=st.lists(st.integers(0, 255), max_size=60), step=STEPS, keep=st.integers(0, 60), strip=st.booleans())
def test_any_ids_with_the_text_a_server_makes_of_them_give_slices(ids, step, keep, strip):
    # Any bytes, broken characters included; then a stop string trimmed off the end, white space off the start.
    pieces = [bytes([n]) for n in range(256)]
    whole = bytes(ids).decode(errors="replace")
    text = (whole.lstrip() if strip else whole)[:keep]
    cuts = cut_ids(text, ids, pieces, step=step)
    assert cuts is not None
    check(slice_rows("p", cuts, step=step), text, len(ids), step)
    generated = cut_generated(ids, pieces, step=step)
    assert generated is not None
    assert generated.text == whole


@given(text=TEXTS.filter(bool), step=STEPS)
def test_a_cut_never_shows_more_than_the_tokens_spell(text, step):
    # With one token a byte, the prefix after n tokens is the longest whole text in the first n bytes.
    (cuts,) = cut_texts([text], tokenizer("bytes"), step=step)
    raw = text.encode()
    for row in slice_rows("p", cuts, step=step):
        assert row.output_prompt == raw[: row.number_of_output_tokens].decode(errors="ignore")


@given(total=st.integers(0, 400), step=st.integers(1, 60), zero=st.booleans())
def test_points_begin_and_end_where_they_should(total, step, zero):
    found = points(total, step=step, zero_row=zero)
    assert found == sorted(set(found))
    assert not found or found[-1] == total
    assert (found[:1] == [0]) is zero
    assert all(point % step == 0 for point in found[:-1])


@settings(max_examples=40)
@given(
    answers=st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from(["stop", "length"]), st.booleans()), max_size=6),
    step=STEPS,
    zero_row=st.booleans(),
)
def test_the_files_hold_what_the_pure_functions_say(tmp_path_factory, answers, step, zero_row):
    library = tokenizer("trained")
    pairs = []
    for n, (asked, text, finish, known) in enumerate(answers):
        ids = tuple(library.encode([text])[0]) if known else None
        pairs.append(
            (
                Prompt(id=f'p"{n}', source="s", text=asked),
                Completion(key="k", prompt_id=f'p"{n}', model="m", text=text, finish=finish, token_ids=ids),
            )
        )
    out = tmp_path_factory.mktemp("out")
    counts = write_slices(pairs, library, SliceOptions(step=step, zero_row=zero_row, split_files=True), out, stem="r")
    expected = {"stop": [], "length": []}
    for prompt, completion in pairs:
        (cuts,) = cut_texts([completion.text], library, step=step)
        for row in slice_rows(prompt.plain, cuts, step=step, zero_row=zero_row):
            expected[completion.finish].append(
                [row.input_prompt, row.output_prompt, row.number_of_output_tokens, row.remaining_tokens]
            )
    found = {}
    for finish, name in (("stop", "training"), ("length", "censored")):
        raw = (out / f"r_{name}.jsonl").read_bytes()
        found[finish] = [list(json.loads(line).values())[:4] for line in raw.split(b"\n")[:-1]]
    assert found == expected
    assert counts["server_ids"] == sum(known for *_, known in answers)
    parts = [json.loads(line) for split in ("train", "validation", "test")
             for line in (out / "splits" / f"{split}.jsonl").read_bytes().split(b"\n")[:-1]]  # fmt: skip
    assert sorted(list(row.values())[:4] for row in parts) == sorted(expected["stop"])


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=12))
def test_targets_are_ordered_and_do_not_depend_on_the_order_of_samples(samples):
    lengths, censored = zip(*samples, strict=True)
    found = length_target("p", "t", lengths, censored)
    assert found == length_target("p", "t", lengths[::-1], censored[::-1])
    known = [value for value in (found.q10, found.q25, found.median, found.q75, found.q90) if value is not None]
    assert known == sorted(known)
    shares = [above for _, above in survival(lengths, censored)]
    assert shares == sorted(shares, reverse=True)
    assert all(-1e-9 <= share <= 1 for share in shares)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_without_censoring_the_mean_is_the_mean(lengths):
    assert length_target("p", "t", lengths, [False] * len(lengths)).mean == pytest.approx(sum(lengths) / len(lengths))
