import numpy as np
import pytest

from promptmill.errors import DataError
from promptmill.train.inputs import Inputs, Scales, encode_once, marks


class Counting:
    def __init__(self, vector=None):
        self.asked = []
        self.vector = vector

    def encode(self, texts):
        self.asked.append(list(texts))
        return np.array([self.vector or [len(text)] for text in texts], dtype=np.float32)


def inputs(layout="apart", **kwargs):
    return Inputs(**{"layout": layout, "tail_chars": 4, "position": False, "marks": False, **kwargs})


def test_apart_encodes_each_prompt_once_and_the_end_of_each_prefix():
    encoder = Counting()
    found = inputs().raw(encoder, ["what?", "what?"], ["", "abcdefgh"], [0, 2])
    assert encoder.asked == [["what?"], ["", "efgh"]]
    assert found.tolist() == [[5, 0], [5, 4]]


def test_joined_encodes_prompt_and_prefix_as_one_text():
    encoder = Counting()
    inputs("joined").raw(encoder, ["what?"], ["because"], [1])
    assert encoder.asked == [["what?\n\nbecause"]]


def test_position_adds_the_tokens_so_far_and_their_logarithm():
    found = inputs("joined", position=True).numbers(["p", "p"], ["", "x"], [0, 7])
    np.testing.assert_allclose(found, [[0, 0], [7, np.log(8)]], rtol=1e-6)


def test_marks_of_a_text_are_those_worked_out_by_hand():
    text = "Steps:\n1. one\n2. two\n\n```\ncode"
    log1p = np.log1p
    # prompt of 3 characters, 30 characters in 10 tokens, one open fence, 5 line ends, 1 blank line, 2 items, number 2
    expected = (log1p(3), 3, 1, log1p(1), log1p(5), log1p(1), log1p(2), log1p(2), 0, 0, 0)
    assert marks("abc", text, 10) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Done.", (1, 0, 0)),
        ("好。 ", (1, 0, 0)),
        ("As follows:\n", (0, 1, 0)),
        ("```\nx\n```", (0, 0, 1)),
        ("", (0, 0, 0)),
    ],
)
def test_the_last_three_marks_tell_how_a_text_ends(text, ends):
    assert marks("p", text, 1)[-3:] == ends


def test_bullets_count_as_items_and_the_last_number_stands():
    found = marks("p", "1) a\n2) b\n- c\n* d", 9)
    assert found[6:8] == pytest.approx((np.log1p(4), np.log1p(2)))


def test_scales_put_inputs_and_targets_to_mean_zero_and_a_vector_weighs_as_much_as_one_number():
    raw = np.array([[1, 10, 5], [3, 30, 5], [5, 50, 5], [7, 70, 5]], dtype=np.float32)  # two of a vector, one number
    scales = Scales.fitted(raw, np.array([10.0, 20, 30, 40]), n_numbers=1, log=False, on=True)
    scaled = scales.scaled(raw)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose((scaled[:, :2] ** 2).mean(0).sum(), 1, rtol=1e-6)
    assert (scaled[:, 2] == 0).all()  # a number that never changes says nothing
    np.testing.assert_allclose(scales.to_tokens(scales.to_target(np.array([10.0, 25]))), [10, 25], rtol=1e-6)


def test_log_targets_come_back_as_tokens_and_never_below_zero():
    scales = Scales.fitted(np.zeros((2, 1), np.float32), np.array([0.0, 9]), n_numbers=0, log=True, on=False)
    np.testing.assert_allclose(scales.to_target(np.array([0.0, 9])), [0, np.log(10)], rtol=1e-6)
    np.testing.assert_allclose(scales.to_tokens(np.array([np.log(10), -3], np.float32)), [9, 0], rtol=1e-5)


def test_a_vector_that_is_not_a_number_is_one_clear_error():
    with pytest.raises(DataError, match="train: row 0: the encoder gave a value that is not a number"):
        inputs("joined").raw(Counting([float("nan")]), ["p"], ["x"], [1])


def test_an_encoder_that_gives_too_few_rows_is_one_clear_error():
    class Short:
        def encode(self, texts):
            return np.zeros((len(texts) - 1, 2), dtype=np.float32)

    with pytest.raises(DataError, match=r"gave shape \(1, 2\) for 2 texts"):
        encode_once(Short(), ["a", "b"])
