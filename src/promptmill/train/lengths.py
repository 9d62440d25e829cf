"""Train a predictor of how many tokens of an answer are still to come, from the prompt and the answer so far.

The form is that of ELIS (arXiv 2505.09142): a frozen encoder with masked mean pooling and eight linear layers
(width -> 1024 -> ... -> 1, ReLU), Adam 1e-4, batch 16, up to 16 epochs, early stopping after 5. `PUBLISHED` is that
form to the letter; the defaults differ where that was measured to help on a few hundred prompts (design/predictor.md).

Rows are split by prompt, so no prompt is both learned from and judged on. A censored row (its answer was cut by a
limit) says only "at least so many": it costs where the prediction is below, or is left out.

Rows and vectors are held in memory: about 3 kB a row, 100,000 rows in 300 MB.

Not covered: cutting answers into rows (`derive`), plots (`report`), what a scheduler gains (`simulate`).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np

from promptmill.config import Table, Use
from promptmill.errors import ConfigError, DataError
from promptmill.io.jsonl import iter_jsonl
from promptmill.records import content_id, split_of
from promptmill.registry import Encoder
from promptmill.train.inputs import Inputs, Layout, Scales
from promptmill.train.measure import Baselines, Measured, measure
from promptmill.train.network import Epoch, FitOptions, fit, layers, torch_threads
from promptmill.train.predictor import Predictor, save

log = logging.getLogger(__name__)

Split = Literal["train", "validation", "test"]


class LengthRow(msgspec.Struct, frozen=True, kw_only=True):
    """One slice of one answer.

    Attributes:
        prompt_id: the prompt it belongs to.
        sample: which of the answers to the prompt.
        split: `train`, `validation` or `test`; empty lets `TrainOptions.shares` decide by prompt.
        input_prompt: the prompt.
        output_prompt: the answer so far.
        n_tokens: tokens of the answer so far.
        remaining: tokens still to come; the least that were to come where `censored`.
        censored: the answer was cut by a limit, so its end is not known.
    """

    prompt_id: str
    sample: int = 0
    split: Literal["", "train", "validation", "test"] = ""
    input_prompt: str
    output_prompt: str
    n_tokens: int
    remaining: int
    censored: bool = False


class TrainOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the length predictor.

    Attributes:
        encoder: which encoder turns text into vectors: its kind and that kind's options.
        layout: joined encodes prompt and prefix as one text (published); apart encodes the prompt and the end of the
            prefix each by itself, which is cheaper, since a prompt is encoded once.
        tail_chars: with layout apart, how many characters of the end of the prefix are encoded.
        use_position: give the number of tokens so far to the network as a number.
        use_marks: give cheap marks of the text as numbers (lines, list items, open code block, how the text ends).
        standardise: scale inputs and targets to mean 0 and spread 1 on the training split.
        log_targets: learn log(1 + remaining) instead of the number itself.
        loss: mse (published) or mae (a little less absolute error, a less even gain in the queue).
        censored: bound uses a censored row as a lower bound, drop leaves it out.
        freeze: leave the encoder as it is; false trains it too (slow without a GPU).
        width: width of the hidden layers.
        depth: number of linear layers.
        epochs: most passes over the training rows.
        batch_size: rows a step.
        learning_rate: Adam's step size.
        encoder_learning_rate: Adam's step size for the encoder when it is not frozen.
        weight_decay: AdamW's pull towards zero; 0 is plain Adam.
        patience: stop after so many epochs without a better validation error.
        shares: fractions of the prompts for training, validation and test, where rows carry no split.
        bucket_tokens: width of the buckets of tokens so far, in the report and in the baseline.
        seed: seed of weights, order, splits and intervals.
        threads: CPU threads of torch.
    """

    encoder: Annotated[Use, Table("encoders", default="transformers")] = msgspec.field(
        default_factory=lambda: {"kind": "transformers", "model": "minilm"}
    )
    layout: Layout = "apart"
    tail_chars: int = 200
    use_position: bool = True
    use_marks: bool = True
    standardise: bool = True
    log_targets: bool = False
    loss: Literal["mse", "mae"] = "mse"
    censored: Literal["bound", "drop"] = "bound"
    freeze: bool = True
    width: int = 1024
    depth: int = 8
    epochs: int = 16
    batch_size: int = 16
    learning_rate: float = 1e-4
    encoder_learning_rate: float = 2e-5
    weight_decay: float = 0.0
    patience: int = 5
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    bucket_tokens: int = 50
    seed: int = 42
    threads: int = 2

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        least = {"tail_chars": 1, "width": 1, "depth": 1, "epochs": 1, "batch_size": 1, "patience": 1, "threads": 1}
        for name, bound in {**least, "bucket_tokens": 1, "weight_decay": 0}.items():
            if getattr(self, name) < bound:
                raise ConfigError(f"train.{name}: is {getattr(self, name)}. Give {bound} or more.")
        if min(self.learning_rate, self.encoder_learning_rate) <= 0:
            raise ConfigError("train.learning_rate: must be above 0. Published: 0.0001.")
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise ConfigError(f"train.shares: {self.shares} are not three fractions above 0 that sum to 1.")


PUBLISHED = TrainOptions(layout="joined", use_position=False, use_marks=False, standardise=False)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a training gave; `report.json`.

    Attributes:
        rows: number of rows by split.
        prompts: number of prompts by split.
        censored: what was done with censored rows: how many there were, how many were used as bounds.
        stopped_after: epochs that were run.
        best_epoch: the epoch whose weights were kept.
        history: every epoch.
        validation: measured on the validation split, which chose the epoch.
        test: measured on the test split, which chose nothing.
    """

    rows: dict[str, int]
    prompts: dict[str, int]
    censored: dict[str, int]
    stopped_after: int
    best_epoch: int
    history: list[Epoch]
    validation: Measured
    test: Measured


class _StoredRow(msgspec.Struct, kw_only=True):
    """A line of the slices stage, public form or the form with ids."""

    input_prompt: str
    output_prompt: str
    number_of_output_tokens: int
    remaining_tokens: int | None = None
    remaining_tokens_at_least: int | None = None
    prompt_id: str = ""
    sample: int = 0
    split: Literal["", "train", "validation", "test"] = ""


def iter_length_rows(path: Path) -> Iterator[LengthRow]:
    """Read rows of the slices stage, training and censored ones; a row without `prompt_id` is known by its prompt.

    Raises:
        DataError: a line is not such a row; names file and line.
    """
    stored: Iterator[_StoredRow] = iter_jsonl(path, _StoredRow)
    for number, row in enumerate(stored, 1):
        known, least = row.remaining_tokens, row.remaining_tokens_at_least
        if (known is None) == (least is None):
            raise DataError(
                f"{path}: row {number}: must have either remaining_tokens or remaining_tokens_at_least. Mend the row."
            )
        yield LengthRow(
            prompt_id=row.prompt_id or content_id(row.input_prompt),
            sample=row.sample,
            split=row.split,
            input_prompt=row.input_prompt,
            output_prompt=row.output_prompt,
            n_tokens=row.number_of_output_tokens,
            remaining=known if known is not None else least or 0,
            censored=known is None,
        )


def by_split(rows: Sequence[LengthRow], options: TrainOptions) -> dict[Split, list[LengthRow]]:
    """Sort rows into their splits, by prompt.

    Raises:
        DataError: no rows, a negative number, a prompt in two splits, or a split without a row whose end is known.
    """
    if not rows:
        raise DataError("train: no rows. Give the files of the slices stage.")
    split_by_prompt: dict[tuple[str, str], Split] = {}  # by id and text: data sets use ids twice
    found: dict[Split, list[LengthRow]] = {"train": [], "validation": [], "test": []}
    for row in rows:
        if row.n_tokens < 0 or row.remaining < 0:
            raise DataError(f"train: prompt {row.prompt_id}: a row has a negative number of tokens. Mend the row.")
        split: Split = row.split or split_of(row.input_prompt, shares=options.shares, seed=options.seed)
        if (first := split_by_prompt.setdefault((row.prompt_id, row.input_prompt), split)) != split:
            raise DataError(f"train: prompt {row.prompt_id}: is in the splits {first} and {split}. Split by prompt.")
        found[split].append(row)
    for name, part in found.items():
        if all(row.censored for row in part):
            raise DataError(
                f"train: {len(split_by_prompt)} prompts, and none with a known end in split '{name}'. "
                "Give more prompts or other shares."
            )
    _warn_of_equal_prompts(found)
    return found


def train(rows: Sequence[LengthRow], encoder: Encoder, options: TrainOptions, out: Path) -> Report:
    """Train, measure on the test split and save a folder that `load_predictor` reads.

    Args:
        rows: slices of answers, at best from the row at 0 tokens on.
        encoder: texts to vectors; wrapped in a store, it computes each vector once.
        options: everything else.
        out: folder for `config.json`, `layers.safetensors` and `report.json`; made if missing.

    Raises:
        DataError: the rows cannot be trained on.
        ConfigError: `freeze` is off and the encoder cannot be trained.
        MissingExtra: torch is not installed.
    """
    found = by_split(rows, options)
    n_censored = sum(row.censored for row in rows)
    learned = [row for row in found["train"] if options.censored == "bound" or not row.censored]
    with torch_threads(options.threads):
        predictor, history = _fit(learned, _known(found["validation"]), encoder, options)
        baselines = _baselines(_known(found["train"]), options)
        measured = {name: _measure(predictor, _known(found[name]), baselines, options) for name in get_args(Split)[1:]}
    report = Report(
        rows={name: len(part) for name, part in found.items()},
        prompts={name: len({row.prompt_id for row in part}) for name, part in found.items()},
        censored={"rows": n_censored, "used_as_bounds": sum(row.censored for row in learned)},
        stopped_after=len(history),
        best_epoch=min(history, key=lambda epoch: epoch.validation_mae).epoch,
        history=history,
        validation=measured["validation"],
        test=measured["test"],
    )
    save(predictor, out, encoder=options.encoder, report=msgspec.json.format(msgspec.json.encode(report), indent=2))
    return report


def jobs_of(rows: Sequence[LengthRow], predictor: Predictor, *, window: int) -> tuple[list[int], list[list[float]]]:
    """Ask the predictor at every window of every answer: what `simulate.compare` takes.

    Args:
        rows: slices every `window` tokens, of the test split only; censored and empty answers are left out. The row
            at 0 tokens is made where it is missing.
        predictor: the trained predictor.
        window: tokens between two predictions.

    Returns:
        Tokens of each answer, and its predictions at 0, 1, 2 ... windows.

    Raises:
        DataError: no answer is left, or one lacks a row.
    """
    # text and length belong to what an answer is known by: data sets use ids twice
    answers: dict[tuple[str, int, str, int], dict[int, LengthRow]] = defaultdict(dict)
    for row in rows:
        if not row.censored and row.n_tokens + row.remaining:
            answers[row.prompt_id, row.sample, row.input_prompt, row.n_tokens + row.remaining][row.n_tokens] = row
    asked: list[LengthRow] = []
    lengths: list[int] = []
    for (prompt_id, sample, _, _), found in answers.items():
        one = next(iter(found.values()))
        found.setdefault(0, msgspec.structs.replace(one, output_prompt="", n_tokens=0))
        lengths.append(one.n_tokens + one.remaining)
        windows = range(0, lengths[-1], window)
        if missing := [at for at in windows if at not in found]:
            raise DataError(
                f"simulate: prompt {prompt_id}, sample {sample}: has no row at {missing[0]} tokens. "
                f"Cut the answers every {window} tokens, or set simulate.window to the step they were cut at."
            )
        asked += [found[at] for at in windows]
    if not lengths:
        raise DataError("simulate: no answer with a known end. Give the slices of the test split.")
    predicted = iter(predictor.predict(*columns(asked)).tolist())
    return lengths, [[next(predicted) for _ in range(0, length, window)] for length in lengths]


def _fit(
    learned: Sequence[LengthRow], validation: Sequence[LengthRow], encoder: Encoder, options: TrainOptions
) -> tuple[Predictor, list[Epoch]]:
    """Train the layers, and the encoder too unless it is frozen."""
    module = None if options.freeze else getattr(encoder, "module", None)
    if not options.freeze and module is None:
        raise ConfigError("train.freeze: this encoder cannot be trained. Use kind transformers, without a store.")
    inputs = Inputs(
        layout=options.layout, tail_chars=options.tail_chars, position=options.use_position, marks=options.use_marks
    )
    texts = columns(learned)
    raw = inputs.raw(encoder, *texts)
    targets = np.array([row.remaining for row in learned], dtype=np.float64)
    scales = Scales.fitted(raw, targets, n_numbers=inputs.n_numbers, log=options.log_targets, on=options.standardise)
    net = layers(raw.shape[1], width=options.width, depth=options.depth, seed=options.seed)
    predictor = Predictor(encoder=encoder, inputs=inputs, scales=scales, net=net, trained_encoder=module is not None)
    vectors = scales.scaled(raw)
    checks = scales.scaled(inputs.raw(encoder, *columns(validation)))
    actual = np.array([row.remaining for row in validation], dtype=np.float64)

    def forward(chosen: Any) -> Any:
        if module is None:
            return predictor.outputs(vectors[chosen])
        return predictor.live_outputs(*columns([learned[i] for i in chosen]))

    def validation_mae() -> float:
        remaining = predictor.remaining(checks) if module is None else predictor.predict(*columns(validation))
        return float(np.abs(remaining - actual).mean())

    fit_options = msgspec.convert(options, FitOptions, from_attributes=True)
    history = fit(
        net,
        forward,
        scales.to_target(targets),
        np.array([row.censored for row in learned]),
        validation_mae=validation_mae,
        encoder_module=module,
        options=fit_options,
    )
    return predictor, history


def columns(rows: Sequence[LengthRow]) -> tuple[list[str], list[str], list[int]]:
    """Prompts, prefixes and tokens so far: what `Predictor.predict` takes."""
    return [r.input_prompt for r in rows], [r.output_prompt for r in rows], [r.n_tokens for r in rows]


def _known(rows: Sequence[LengthRow]) -> list[LengthRow]:
    return [row for row in rows if not row.censored]


def _numbers(rows: Sequence[LengthRow]) -> tuple[Any, Any, Any]:
    """Tokens so far, characters of the prompt, and remaining tokens of each row."""
    table = np.array([(r.n_tokens, len(r.input_prompt), r.remaining) for r in rows], dtype=np.float64)
    return table[:, 0], table[:, 1], table[:, 2]


def _baselines(rows: Sequence[LengthRow], options: TrainOptions) -> Baselines:
    return Baselines(*_numbers(rows), bucket_tokens=options.bucket_tokens)


def _measure(predictor: Predictor, rows: Sequence[LengthRow], baselines: Baselines, options: TrainOptions) -> Measured:
    n_tokens, prompt_chars, remaining = _numbers(rows)
    return measure(
        predictor.predict(*columns(rows)),
        remaining,
        baselines.predict(n_tokens, prompt_chars),
        prompts=[row.prompt_id for row in rows],
        n_tokens=n_tokens,
        bucket_tokens=options.bucket_tokens,
        seed=options.seed,
    )


def _warn_of_equal_prompts(found: dict[Split, list[LengthRow]]) -> None:
    """Equal texts under different ids leak from one split to another; `dedup` in the selection prevents it."""
    splits = defaultdict(set)
    for name, part in found.items():
        for row in part:
            splits[row.input_prompt].add(name)
    if shared := sum(len(names) > 1 for names in splits.values()):
        log.warning("%d prompt texts are in more than one split under different ids; dedup the prompts", shared)
