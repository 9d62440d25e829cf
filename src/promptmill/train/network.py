"""The network of the length predictor and its training loop, on vectors that are given.

The published form (ELIS, arXiv 2505.09142): eight linear layers, width -> 1024 -> ... -> 1, ReLU between them, trained
with Adam. Everything random hangs on one seed, so a training can be repeated bit for bit on the same CPU and threads.

Not covered: where the vectors come from (`lengths`, through an encoder) and what is reported (`measure`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from promptmill.errors import DataError, MissingExtra

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

log = logging.getLogger(__name__)


class FitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the layers are trained; a part of `lengths.TrainOptions`."""

    epochs: int
    batch_size: int
    learning_rate: float
    encoder_learning_rate: float
    weight_decay: float
    patience: int
    loss: Literal["mse", "mae"]
    seed: int


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """What one epoch gave.

    Attributes:
        epoch: number from 1.
        train_loss: mean loss over the training rows, in target units.
        validation_mae: mean absolute error on the validation split, in tokens.
    """

    epoch: int
    train_loss: float
    validation_mae: float


def layers(inputs: int, *, width: int, depth: int, seed: int) -> torch.nn.Module:
    """Build `depth` linear layers inputs -> width -> ... -> 1 with ReLU between them, weights drawn by `seed`."""
    import torch

    with seeded(seed):
        sizes = [inputs, *[width] * (depth - 1), 1]
        parts: list[Any] = []
        for before, after in pairwise(sizes):
            parts += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        return torch.nn.Sequential(*parts[:-1])


def row_losses(
    predicted: torch.Tensor, target: torch.Tensor, bound: torch.Tensor, *, loss: Literal["mse", "mae"]
) -> torch.Tensor:
    """Loss of each row. Where `bound` is true the target is a lower bound: only a prediction below it costs."""
    import torch

    error = predicted - target
    error = torch.where(bound, error.clamp(max=0), error)
    return error**2 if loss == "mse" else error.abs()


def fit(
    net: torch.nn.Module,
    forward: Callable[[npt.NDArray[np.int64]], torch.Tensor],
    targets: npt.NDArray[np.float32],
    bounds: npt.NDArray[np.bool_],
    *,
    validation_mae: Callable[[], float],
    encoder_module: Any = None,
    options: FitOptions,
) -> list[Epoch]:
    """Train until `epochs`, or until `patience` epochs brought no better validation; leave the best weights in place.

    Args:
        net: the layers to train.
        forward: training row numbers -> predictions in target units, with gradients.
        targets: what each training row should give, in target units.
        bounds: true where the target is only a lower bound.
        validation_mae: the error in tokens on the validation split with the weights as they are.
        encoder_module: the encoder's torch module when it is trained too.
        options: the numbers.
    """
    import torch

    groups = [{"params": list(net.parameters()), "lr": options.learning_rate}]
    if encoder_module is not None:
        groups.append({"params": list(encoder_module.parameters()), "lr": options.encoder_learning_rate})
    adam = torch.optim.AdamW(groups, weight_decay=options.weight_decay)
    trained = torch.nn.ModuleList([net] if encoder_module is None else [net, encoder_module])
    y, is_bound = torch.from_numpy(targets), torch.from_numpy(bounds)
    draw = np.random.default_rng(options.seed)
    history: list[Epoch] = []
    best_mae, best, since = float("inf"), _copy(trained), 0
    with seeded(options.seed):  # dropout of a trained encoder
        for epoch in range(1, options.epochs + 1):
            trained.train()
            total = 0.0
            order = draw.permutation(len(targets))
            for start in range(0, len(order), options.batch_size):
                chosen = order[start : start + options.batch_size]
                losses = row_losses(forward(chosen).cpu(), y[chosen], is_bound[chosen], loss=options.loss)
                adam.zero_grad()
                losses.mean().backward()
                adam.step()
                total += float(losses.detach().sum())
            trained.eval()
            mae = validation_mae()
            history.append(Epoch(epoch=epoch, train_loss=total / len(targets), validation_mae=mae))
            log.info("epoch %d: training loss %.4f, validation MAE %.1f tokens", epoch, total / len(targets), mae)
            if not np.isfinite(total) or not np.isfinite(mae):
                raise DataError(f"training: the loss is not a number in epoch {epoch}. Lower the learning rate.")
            best_mae, best, since = (mae, _copy(trained), 0) if mae < best_mae else (best_mae, best, since + 1)
            if since >= options.patience:
                break
    trained.load_state_dict(best)
    trained.eval()
    return history


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block and give its generator back as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads inside the block; `MissingExtra` where there is no torch."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("train", needed_for="the length predictor") from error
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _copy(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
