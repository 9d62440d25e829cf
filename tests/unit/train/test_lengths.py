import json

import msgspec
import numpy as np
import pytest

from promptmill.encode import Stored, transformers
from promptmill.errors import ConfigError, DataError
from promptmill.records import split_of
from promptmill.train.lengths import PUBLISHED, LengthRow, TrainOptions, by_split, iter_length_rows, jobs_of, train
from promptmill.train.network import FitOptions, fit, layers, row_losses
from promptmill.train.predictor import load_predictor

torch = pytest.importorskip("torch", reason="needs the extra 'train'")


class Digits:
    """An encoder that reads the number in a text: vector (number, 1) / 10."""

    identity = "digits"

    def encode(self, texts):
        numbers = ["".join(c for c in text if c.isdigit()) for text in texts]
        return np.array([[int(n or 0) / 10, 0.1] for n in numbers], dtype=np.float32).reshape(-1, 2)


def answer_rows(number, split, step=50):
    """The answer to `say N` has 10 x N tokens."""
    total = 10 * number
    return [
        LengthRow(
            prompt_id=f"{split}-{number}",
            split=split,
            input_prompt=f"say {number}",
            output_prompt="w" * at,
            n_tokens=at,
            remaining=total - at,
        )
        for at in [*range(0, total, step), total]
    ]


def rows():
    found = []
    for number in range(1, 41):
        found += answer_rows(number, ("train", "train", "train", "validation", "test")[number % 5])
    return found


SMALL = TrainOptions(use_marks=False, width=32, depth=3, epochs=12, learning_rate=3e-3, threads=1)


def test_a_predictor_learns_what_the_prompt_tells_and_beats_all_three_baselines(tmp_path):
    report = train(rows(), Digits(), SMALL, tmp_path)
    assert report.prompts == {"train": 24, "validation": 8, "test": 8}
    assert report.test.predictor.r2.value > 0.9
    assert set(report.test.mae_gains) == {"mean", "prompt_length", "tokens_so_far"}
    assert all(gain.low > 0 for gain in report.test.mae_gains.values())


def test_the_published_form_is_eight_layers_of_1024_on_the_text_alone():
    net = layers(384, width=PUBLISHED.width, depth=PUBLISHED.depth, seed=1)
    sizes = [(layer.in_features, layer.out_features) for layer in net if isinstance(layer, torch.nn.Linear)]
    assert sizes == [(384, 1024), *[(1024, 1024)] * 6, (1024, 1)]
    assert sum(isinstance(layer, torch.nn.ReLU) for layer in net) == 7
    published = (PUBLISHED.batch_size, PUBLISHED.learning_rate, PUBLISHED.epochs, PUBLISHED.patience, PUBLISHED.loss)
    assert published == (16, 1e-4, 16, 5, "mse")
    beside = (PUBLISHED.use_position, PUBLISHED.use_marks, PUBLISHED.standardise, PUBLISHED.log_targets)
    assert beside == (False, False, False, False)


def test_a_saved_predictor_loads_with_one_call_and_predicts_the_same(tmp_path):
    report = train(rows(), Digits(), SMALL, tmp_path)
    asked = (["say 7", "say 30", "say 30"], ["", "", "w" * 100], [0, 0, 100])
    predictor = load_predictor(tmp_path, encoder=Digits())
    predicted = predictor.predict(*asked)
    assert predicted.shape == (3,)
    np.testing.assert_allclose(predicted, [70, 300, 200], atol=40)
    test = [row for row in rows() if row.split == "test"]
    again = predictor.predict(
        [r.input_prompt for r in test], [r.output_prompt for r in test], [r.n_tokens for r in test]
    )
    mae = np.abs(again - [row.remaining for row in test]).mean()
    assert mae == pytest.approx(report.test.predictor.mae.value, rel=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "layers.safetensors", "report.json"]
    assert json.loads((tmp_path / "report.json").read_text())["prompts"]["test"] == 8
    assert predictor.predict([], [], []).shape == (0,)


def test_the_same_seed_gives_the_same_weights_and_another_seed_gives_others(tmp_path):
    first = train(rows(), Digits(), SMALL, tmp_path / "1")
    assert train(rows(), Digits(), SMALL, tmp_path / "2") == first
    weights = [(tmp_path / name / "layers.safetensors").read_bytes() for name in "12"]
    assert weights[0] == weights[1]
    train(rows(), Digits(), msgspec.structs.replace(SMALL, seed=43), tmp_path / "3")
    assert (tmp_path / "3" / "layers.safetensors").read_bytes() != weights[0]


def test_training_leaves_the_threads_and_the_random_numbers_of_torch_as_they_were(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    train(rows(), Digits(), msgspec.structs.replace(SMALL, epochs=1), tmp_path)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads


def test_a_bound_costs_only_when_the_prediction_is_below_it():
    predicted, target = torch.tensor([8.0, 8.0, 8.0]), torch.tensor([5.0, 5.0, 10.0])
    bound = torch.tensor([False, True, True])
    assert row_losses(predicted, target, bound, loss="mse").tolist() == [9, 0, 4]
    assert row_losses(predicted, target, bound, loss="mae").tolist() == [3, 0, 2]


def test_censored_rows_pull_predictions_up_as_bounds_and_play_no_part_when_dropped(tmp_path):
    cut = [
        LengthRow(
            prompt_id=f"cut-{i}", split="train", input_prompt="say 5", output_prompt="", n_tokens=0,
            remaining=400, censored=True,
        )
        for i in range(30)
    ]  # fmt: skip
    asked = (["say 5"], [""], [0])
    values = {}
    for name, extra in {"without": [], "bound": cut, "drop": cut}.items():
        options = msgspec.structs.replace(SMALL, censored="drop" if name == "drop" else "bound")
        report = train([*rows(), *extra], Digits(), options, tmp_path / name)
        assert report.censored == {"rows": len(extra), "used_as_bounds": 30 if name == "bound" else 0}
        values[name] = float(load_predictor(tmp_path / name, encoder=Digits()).predict(*asked)[0])
    assert values["drop"] == values["without"]
    assert values["bound"] > values["without"] + 100


def test_training_stops_when_patience_ends_and_keeps_the_best_epoch():
    net = layers(1, width=4, depth=2, seed=1)
    inputs = torch.ones(8, 1)
    errors = iter([9.0, 5.0, 6.0, 7.0, 1.0])
    kept = []

    def validation_mae():
        kept.append([p.detach().clone() for p in net.parameters()])
        return next(errors)

    options = FitOptions(
        epochs=5, batch_size=4, learning_rate=0.01, encoder_learning_rate=0.01, weight_decay=0, patience=2, loss="mse",
        seed=1,
    )  # fmt: skip
    history = fit(
        net,
        lambda chosen: net(inputs[chosen]).squeeze(1),
        np.arange(8, dtype=np.float32),
        np.zeros(8, dtype=bool),
        validation_mae=validation_mae,
        options=options,
    )
    assert [epoch.validation_mae for epoch in history] == [9, 5, 6, 7]  # two epochs without a better one
    assert all(torch.equal(now, then) for now, then in zip(net.parameters(), kept[1], strict=True))


def test_rows_without_a_split_are_split_by_prompt_whatever_their_order():
    bare = [msgspec.structs.replace(row, split="") for row in rows()]
    options = TrainOptions(shares=(0.5, 0.25, 0.25))
    found = by_split(bare, options)
    prompts = {name: {row.prompt_id for row in part} for name, part in found.items()}
    assert sum(len(ids) for ids in prompts.values()) == 40
    assert not prompts["train"] & prompts["test"]
    assert not prompts["train"] & prompts["validation"]
    assert all(
        split_of(row.input_prompt, shares=options.shares, seed=42) == name
        for name, part in found.items()
        for row in part
    )
    backwards = by_split(bare[::-1], options)
    assert {name: {row.prompt_id for row in part} for name, part in backwards.items()} == prompts


def test_a_prompt_in_two_splits_is_refused():
    row = next(row for row in rows() if row.split == "train")
    leaking = [*rows(), msgspec.structs.replace(row, split="test")]
    with pytest.raises(DataError, match=rf"prompt {row.prompt_id}: is in the splits train and test\. Split by prompt"):
        by_split(leaking, TrainOptions())


def test_equal_texts_under_different_ids_in_different_splits_are_told(caplog):
    by_split([*rows(), msgspec.structs.replace(answer_rows(1, "test")[0], prompt_id="x")], TrainOptions())
    assert "1 prompt texts are in more than one split" in caplog.text


def one_prompt():
    return [msgspec.structs.replace(row, split="") for row in answer_rows(9, "train")]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "train: no rows"),
        (one_prompt(), "train: 1 prompts, and none with a known end in split"),
        ([r for r in rows() if r.split != "test"], "none with a known end in split 'test'"),
        ([*rows(), msgspec.structs.replace(rows()[0], remaining=-1)], "prompt train-1: a row has a negative number"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_one_clear_line(bad, message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        train(bad, Digits(), SMALL, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_vectors_that_are_not_numbers_are_one_clear_line(tmp_path):
    class Broken(Digits):
        def encode(self, texts):
            return np.full((len(texts), 2), np.inf, dtype=np.float32)

    with pytest.raises(DataError, match="the encoder gave a value that is not a number"):
        train(rows(), Broken(), SMALL, tmp_path)


def test_a_learning_rate_that_blows_up_is_one_clear_line(tmp_path):
    wild = msgspec.structs.replace(SMALL, learning_rate=1e30)
    with pytest.raises(DataError, match=r"the loss is not a number in epoch 1\. Lower the learning rate"):
        train(rows(), Digits(), wild, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"train\.epochs: is 0. Give 1 or more"),
        ({"weight_decay": -1}, r"train\.weight_decay: is -1"),
        ({"learning_rate": 0}, r"train\.learning_rate: must be above 0"),
        ({"shares": (0.5, 0.5, 0.5)}, r"train\.shares: \(0.5, 0.5, 0.5\) are not three fractions"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options, message):
    with pytest.raises(ConfigError, match=message):
        TrainOptions(**options)


def test_a_folder_that_is_no_predictor_or_is_damaged_is_one_clear_line(tmp_path):
    with pytest.raises(DataError, match=r"config\.json: no such file\. Give the folder of a finished training"):
        load_predictor(tmp_path)
    train(rows(), Digits(), msgspec.structs.replace(SMALL, epochs=1), tmp_path)
    (tmp_path / "layers.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match="is no length predictor, or is damaged") as caught:
        load_predictor(tmp_path, encoder=Digits())
    assert "\n" not in str(caught.value)


def test_a_predictor_refuses_another_encoder_than_that_of_its_training(tmp_path):
    train(rows(), Digits(), msgspec.structs.replace(SMALL, epochs=1), tmp_path)
    other = Digits()
    other.identity = "other"
    with pytest.raises(DataError, match=r"was trained on another encoder \(digits, now other\)"):
        load_predictor(tmp_path, encoder=other)


def test_an_encoder_that_cannot_be_trained_is_refused_when_not_frozen(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.freeze: this encoder cannot be trained"):
        train(rows(), Digits(), msgspec.structs.replace(SMALL, freeze=False), tmp_path)


def test_an_unfrozen_encoder_is_trained_saved_and_loaded_with_the_layers(tiny, tmp_path):
    spec = {"kind": "transformers", "model": str(tiny), "max_tokens": 16}
    encoder = transformers(model=str(tiny), max_tokens=16, threads=1)
    before = encoder.identity
    few = [row for row in rows() if row.remaining % 100 == 0]
    options = msgspec.structs.replace(SMALL, freeze=False, epochs=2, encoder=spec, encoder_learning_rate=1e-3)
    report = train(few, encoder, options, tmp_path)
    assert encoder.identity != before
    assert report.stopped_after == 2
    predictor = load_predictor(tmp_path)  # the encoder comes from the folder, not from where training took it
    assert predictor.encoder.identity == encoder.identity != before
    test = [row for row in few if row.split == "test"]
    found = predictor.predict(
        [r.input_prompt for r in test], [r.output_prompt for r in test], [r.n_tokens for r in test]
    )
    mae = np.abs(found - [row.remaining for row in test]).mean()
    assert mae == pytest.approx(report.test.predictor.mae.value, rel=1e-4)


def test_a_second_training_on_stored_vectors_computes_none(tmp_path):
    one_epoch = msgspec.structs.replace(SMALL, epochs=1)
    first, second = Stored(Digits(), tmp_path / "vectors"), None
    train(rows(), first, one_epoch, tmp_path / "1")
    second = Stored(Digits(), tmp_path / "vectors")
    train(rows(), second, one_epoch, tmp_path / "2")
    assert first.computed > 0
    assert second.computed == 0
    assert load_predictor(tmp_path / "2", encoder=second).encoder.computed == 0


def test_rows_of_the_slices_stage_are_read_in_both_forms(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"input_prompt":"p","output_prompt":"a","number_of_output_tokens":1,"remaining_tokens":4}\n'
        '{"input_prompt":"p","output_prompt":"a","number_of_output_tokens":1,"remaining_tokens_at_least":9,'
        '"prompt_id":"x","sample":2,"split":"test"}\n'
    )
    plain, cut = iter_length_rows(path)
    assert (plain.n_tokens, plain.remaining, plain.censored, plain.split) == (1, 4, False, "")
    assert len(plain.prompt_id) == 16
    assert cut == LengthRow(
        prompt_id="x",
        sample=2,
        split="test",
        input_prompt="p",
        output_prompt="a",
        n_tokens=1,
        remaining=9,
        censored=True,
    )


def test_a_row_that_tells_no_length_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input_prompt":"p","output_prompt":"a","number_of_output_tokens":1}\n')
    with pytest.raises(DataError, match="row 1: must have either remaining_tokens or remaining_tokens_at_least"):
        list(iter_length_rows(path))


def test_jobs_hold_a_prediction_for_every_window_of_every_answer_with_a_known_end(tmp_path):
    train(rows(), Digits(), SMALL, tmp_path)
    predictor = load_predictor(tmp_path, encoder=Digits())
    answers = [row for row in [*answer_rows(4, "test"), *answer_rows(14, "test")] if row.n_tokens != 0]  # 0 is made
    cut = [msgspec.structs.replace(row, censored=True) for row in answer_rows(9, "test")]
    lengths, predictions = jobs_of([*answers, *cut], predictor, window=50)
    assert lengths == [40, 140]
    asked = predictor.predict(["say 4", *["say 14"] * 3], ["", "", "w" * 50, "w" * 100], [0, 0, 50, 100])
    np.testing.assert_allclose([*predictions[0], *predictions[1]], asked, rtol=1e-5)
    assert (len(predictions[0]), len(predictions[1])) == (1, 3)
    with pytest.raises(DataError, match=r"prompt test-14, sample 0: has no row at 70 tokens"):
        jobs_of(answers, predictor, window=70)
    with pytest.raises(DataError, match="no answer with a known end"):
        jobs_of(cut, predictor, window=50)


def test_two_prompts_under_one_id_are_two_jobs(tmp_path):
    train(rows(), Digits(), SMALL, tmp_path)
    predictor = load_predictor(tmp_path, encoder=Digits())
    answers = [
        msgspec.structs.replace(row, prompt_id="7") for row in (*answer_rows(4, "test"), *answer_rows(14, "test"))
    ]
    assert jobs_of(answers, predictor, window=50)[0] == [40, 140]
