import json
from pathlib import Path

import numpy as np
import pytest

from promptmill.encode import Stored, transformers
from promptmill.errors import ConfigError, DataError

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]  # of the fixture `tiny`


def ids(text):
    return [WORDS.index(letter) for letter in text.split()]


class Lengths:
    """An encoder whose vector is (length of the text, 1); counts what it is asked."""

    identity = "lengths"

    def __init__(self):
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        return np.array([[len(text), 1] for text in texts], dtype=np.float32).reshape(-1, 2)


def test_a_vector_is_the_mean_of_the_token_vectors_without_the_padding(tiny):
    encoder = transformers(model=str(tiny), max_tokens=16)
    short, long = "a b c", "a b c d e f g h"
    with torch.inference_mode():
        hidden = encoder.module(input_ids=torch.tensor([[2, *ids(short), 3]])).last_hidden_state
    vectors = encoder.encode([long, short])  # the short one is padded beside the long one
    assert vectors.shape == (2, 8)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[1], hidden[0].mean(0).numpy(), atol=1e-6)


def test_cls_pooling_takes_the_first_token_and_normalize_gives_length_one(tiny):
    encoder = transformers(model=str(tiny), max_tokens=16, pooling="cls", normalize=True)
    with torch.inference_mode():
        first = encoder.module(input_ids=torch.tensor([[2, *ids("a b"), 3]])).last_hidden_state[0, 0].numpy()
    vector = encoder.encode(["a b"])[0]
    np.testing.assert_allclose(vector, first / np.linalg.norm(first), atol=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("keep", "kept"), [("ends", "a b h i j"), ("start", "a b c d e"), ("end", "f g h i j")])
def test_a_long_text_keeps_the_ends_the_start_or_the_end_as_asked(tiny, keep, kept):
    cut = transformers(model=str(tiny), max_tokens=7, keep=keep)  # room for 5 letters between [CLS] and [SEP]
    whole = transformers(model=str(tiny), max_tokens=16)
    np.testing.assert_allclose(cut.encode(["a b c d e f g h i j"]), whole.encode([kept]), atol=1e-6)


@pytest.mark.parametrize("keep", ["ends", "start", "end"])
def test_a_text_far_beyond_the_window_gives_the_same_vector_as_a_text_just_beyond_it(tiny, keep):
    encoder = transformers(model=str(tiny), max_tokens=7, keep=keep)
    beyond = " ".join(["a b c", *["x"] * 20, "h i j"])
    far = " ".join(["a b c", *["x"] * 5000, "h i j"])
    np.testing.assert_array_equal(encoder.encode([beyond]), encoder.encode([far]))


def test_batch_size_changes_nothing_but_speed(tiny):
    texts = ["a", "b c d e", "", "f g", "a b c d e f g h i"]
    one = transformers(model=str(tiny), max_tokens=16, batch_size=1)
    five = transformers(model=str(tiny), max_tokens=16, batch_size=5)
    np.testing.assert_allclose(one.encode(texts), five.encode(texts), atol=1e-6)
    assert one.identity == five.identity


def test_the_identity_changes_with_weights_window_and_pooling_and_with_nothing_else(tiny, tmp_path):
    encoder = transformers(model=str(tiny), max_tokens=16)
    encoder.save(tmp_path / "copy")
    assert transformers(model=str(tmp_path / "copy"), max_tokens=16, threads=1).identity == encoder.identity
    assert transformers(model=str(tiny), max_tokens=15).identity != encoder.identity
    assert transformers(model=str(tiny), max_tokens=16, pooling="cls").identity != encoder.identity
    with torch.no_grad():
        next(encoder.module.parameters())[0, 0] += 1
    assert transformers(model=str(tiny), max_tokens=16).identity != encoder.identity


def test_a_window_larger_than_the_model_takes_is_refused(tiny):
    with pytest.raises(ConfigError, match=r"max_tokens is 64, the model takes 32\. Lower max_tokens\."):
        transformers(model=str(tiny), max_tokens=64)


def test_a_missing_folder_is_one_clear_error():
    with pytest.raises(ConfigError, match=r"encoder \./no/such/folder: no such folder\. Check the path"):
        transformers(model="./no/such/folder")


def test_a_hub_id_without_a_hub_is_one_clear_error_and_never_another_encoder(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read once, long ago
    with pytest.raises(ConfigError, match="encoder promptmill-tests/none: no folder here") as caught:
        transformers(model="promptmill-tests/none")
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_one_clear_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="it cannot be loaded") as caught:
        transformers(model=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_weights_that_lack_a_layer_are_refused(tiny, tmp_path):
    encoder = transformers(model=str(tiny), max_tokens=16)
    encoder.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ConfigError, match=r"the weights lack 16 tensors"):
        transformers(model=str(tmp_path))


def test_a_device_that_is_not_there_is_one_clear_error(tiny):
    with pytest.raises(ConfigError, match="device 'cuda:99' cannot be used"):
        transformers(model=str(tiny), max_tokens=16, device="cuda:99")


def test_stored_vectors_are_computed_once_even_in_another_process_object(tmp_path):
    first = Lengths()
    store = Stored(first, tmp_path, chunk=2)
    texts = ["aaa", "b", "aaa", "cc", "dddd", ""]
    expected = [[3, 1], [1, 1], [3, 1], [2, 1], [4, 1], [0, 1]]
    assert store.encode(texts).tolist() == expected
    assert sorted(first.asked) == ["", "aaa", "b", "cc", "dddd"]
    second = Lengths()
    again = Stored(second, tmp_path)
    assert again.encode(texts).tolist() == expected
    assert (second.asked, again.computed) == ([], 0)
    assert again.encode(["b", "eeeee"]).tolist() == [[1, 1], [5, 1]]
    assert second.asked == ["eeeee"]
    assert np.load(tmp_path / "vectors.npy").shape == (6, 2)


def test_another_encoder_never_gets_the_vectors_of_the_first(tmp_path):
    other = Lengths()
    other.identity = "other"
    Stored(Lengths(), tmp_path).encode(["a"])
    Stored(other, tmp_path).encode(["a"])
    assert other.asked == ["a"]


@pytest.mark.parametrize(("file", "bytes_lost"), [("vectors.npy", 3), ("vectors.ids", 5), ("vectors.ids", 16)])
def test_a_torn_store_loses_only_its_end(tmp_path, file, bytes_lost):
    Stored(Lengths(), tmp_path).encode(["a", "bb", "ccc"])
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-bytes_lost])
    encoder = Lengths()
    assert Stored(encoder, tmp_path).encode(["a", "bb", "ccc"]).tolist() == [[1, 1], [2, 1], [3, 1]]
    assert encoder.asked == ["ccc"]


def test_vectors_that_are_not_numbers_are_not_stored(tmp_path):
    class Broken(Lengths):
        def encode(self, texts):
            return np.full((len(texts), 2), np.nan, dtype=np.float32)

    store = Stored(Broken(), tmp_path)
    with pytest.raises(DataError, match="or NaN"):
        store.encode(["a"])
    assert Stored(Lengths(), tmp_path).encode(["a"]).tolist() == [[1, 1]]


def test_a_file_that_is_no_store_is_refused(tmp_path: Path):
    (tmp_path / "vectors.npy").write_bytes(b"hello")
    (tmp_path / "vectors.ids").write_bytes(b"")
    with pytest.raises(DataError, match="is not an array that promptmill wrote"):
        Stored(Lengths(), tmp_path)


def test_an_encoder_without_identity_cannot_be_stored(tmp_path):
    class Nameless:
        def encode(self, texts):
            return np.zeros((len(texts), 2), dtype=np.float32)

    with pytest.raises(ConfigError, match="Nameless: has no `identity`"):
        Stored(Nameless(), tmp_path)
