import pytest
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, normalizers, pre_tokenizers

from promptmill.derive.slices import SliceOptions, cut_generated, cut_ids, cut_texts, points, slice_rows, usage_differs
from promptmill.errors import ConfigError
from promptmill.records import Completion, Usage
from promptmill.tokens import Tokenizer

# One token per byte, and three that are longer: the family is byte-level, so the pieces spell the text.
PIECES = [bytes([n]) for n in range(256)] + [b" the", b"caf\xc3", b""]
THE, CAF, END = 256, 257, 258


def ids(text):
    return list(text.encode())


def test_a_row_stands_at_every_step_and_once_at_the_end():
    assert points(120, step=50) == [50, 100, 120]
    assert points(100, step=50) == [50, 100]
    assert points(7, step=50) == [7]


def test_the_zero_row_comes_first_when_asked_for():
    assert points(120, step=50, zero_row=True) == [0, 50, 100, 120]


def test_an_empty_completion_has_the_zero_row_only():
    assert points(0, step=50) == []
    assert points(0, step=50, zero_row=True) == [0]
    assert slice_rows("p", cut_ids("", [], PIECES, step=50), step=50) == []
    (row,) = slice_rows("p", cut_ids("", [], PIECES, step=50), step=50, zero_row=True)
    assert (row.output_prompt, row.number_of_output_tokens, row.remaining_tokens) == ("", 0, 0)


def test_rows_carry_the_prefix_and_what_remains():
    cuts = cut_ids("to the end", [*ids("to"), THE, *ids(" end")], PIECES, step=3)
    rows = slice_rows("go", cuts, step=3)
    assert [(r.output_prompt, r.number_of_output_tokens, r.remaining_tokens) for r in rows] == [
        ("to the", 3, 4),
        ("to the en", 6, 1),
        ("to the end", 7, 0),
    ]


def test_a_cut_inside_a_character_moves_to_its_start():
    # 👩 is four bytes, one token each: cuts after 1, 2 and 3 of them stand before it.
    assert cut_ids("a👩b", ids("a👩b"), PIECES, step=1).offsets == [1, 1, 1, 1, 2, 3]


def test_a_token_that_ends_inside_a_character_cuts_before_it():
    assert cut_ids("café!", [CAF, 0xA9, ord("!")], PIECES, step=1).offsets == [3, 4, 5]


def test_the_end_of_text_token_counts_and_adds_no_text():
    cuts = cut_ids("ab", [*ids("ab"), END], PIECES, step=2)
    assert (cuts.total, cuts.offsets, cuts.missing) == (3, [2, 2], 0)


def test_a_trimmed_stop_string_clamps_the_cuts_behind_it():
    cuts = cut_ids("ab", ids("ab\n\nQ:"), PIECES, step=2)
    assert (cuts.total, cuts.offsets, cuts.missing) == (6, [2, 2, 2], 4)


def test_white_space_that_the_server_took_off_the_start_shifts_the_cuts():
    cuts = cut_ids("abc", ids(" \nabc"), PIECES, step=2)
    assert (cuts.offsets, cuts.missing) == ([0, 2, 3], 0)


def test_an_unfinished_last_character_may_be_missing_or_replaced():
    unfinished = [*ids("ab"), 0xF0, 0x9F]
    assert cut_ids("ab", unfinished, PIECES, step=3).offsets == [2, 2]
    assert cut_ids("ab�", unfinished, PIECES, step=3).offsets == [2, 3]


def test_bad_bytes_in_the_middle_decode_to_replacement_characters():
    assert cut_ids("a�b", [ord("a"), 0xFF, ord("b")], PIECES, step=1).offsets == [1, 2, 3]


def test_ids_that_do_not_spell_the_text_are_refused():
    assert cut_ids("other", ids("text"), PIECES, step=2) is None
    assert cut_ids("longer than the ids", ids("longer"), PIECES, step=2) is None


def test_ids_beyond_the_vocabulary_are_refused():
    assert cut_ids("a", [999], PIECES, step=2) is None


def test_reasoning_counts_as_generated_text():
    cuts = cut_generated(ids("why so"), PIECES, step=4)
    assert (cuts.text, cuts.total, cuts.offsets) == ("why so", 6, [4, 6])


def test_a_normalising_tokenizer_is_cut_by_its_spans():
    # NFC joins e + U+0301 to one character, so the pieces spell another text than the one given.
    library = Library(models.BPE(vocab={c: n for n, c in enumerate(pre_tokenizers.ByteLevel.alphabet())}, merges=[]))
    library.normalizer = normalizers.NFC()
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    text = "ae\u0301b"
    (cuts,) = cut_texts([text], Tokenizer("tiny", library), step=1)
    assert cuts.total == 4  # a, two bytes of é, b
    assert cuts.offsets == [1, 1, 3, 4]
    assert cuts.counted == "encoded"


@pytest.mark.parametrize(
    ("given", "reported", "differs"),
    [("ids", 3, False), ("ids", 2, True), ("encoded", 3, False), ("encoded", 4, False), ("encoded", 5, True)],
)
def test_the_servers_own_count_is_compared(given, reported, differs):
    cuts = cut_ids("abc", ids("abc"), PIECES, step=50, counted=given)
    usage = Usage(prompt_tokens=1, completion_tokens=reported)
    completion = Completion(key="k", prompt_id="p", model="m", text="abc", finish="stop", usage=usage)
    assert usage_differs(completion, cuts) is differs


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match=r"step: 0 is less than 1"):
        SliceOptions(step=0)
    with pytest.raises(ConfigError, match="not fractions that sum to 1"):
        SliceOptions(shares=(0.8, 0.1, 0.2))
    with pytest.raises(ConfigError, match="formats: the list is empty"):
        SliceOptions(formats=())
    with pytest.raises(ConfigError, match="threads: 0"):
        SliceOptions(threads=0)
