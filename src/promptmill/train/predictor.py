"""The trained length predictor: a folder that loads with one call and predicts in batches.

The folder holds `config.json` (encoder, inputs, shape of the network), `layers.safetensors` (weights and scales, no
pickle), `report.json`, and `encoder/` when the encoder was trained too. A predictor never runs on another encoder
than the one it was trained on: its identity is stored and compared.

Not covered: training (`lengths`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from promptmill import registry
from promptmill.errors import DataError, MissingExtra
from promptmill.io.jsonl import atomic
from promptmill.registry import Encoder
from promptmill.train.inputs import Inputs, Scales
from promptmill.train.network import layers

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

CONFIG, WEIGHTS, REPORT, ENCODER = "config.json", "layers.safetensors", "report.json", "encoder"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """`config.json` of a predictor.

    Attributes:
        format: version of the folder's form.
        encoder: kind and options of the encoder.
        encoder_identity: hash of what the encoder was; empty for one that has none.
        inputs: how a row becomes numbers.
        sizes: inputs, width and depth of the network.
        target_shift: see `Scales`.
        target_spread: see `Scales`.
        log_targets: see `Scales`.
    """

    format: int = 1
    encoder: dict[str, Any]
    encoder_identity: str
    inputs: Inputs
    sizes: tuple[int, int, int]
    target_shift: float
    target_spread: float
    log_targets: bool


class Predictor:
    """Predicts remaining tokens. Made by `load_predictor` and by training.

    Attributes:
        encoder: texts to vectors.
        inputs: how a row becomes numbers.
        scales: how the numbers are scaled.
        net: the linear layers.
        trained_encoder: whether the encoder was trained with the layers and belongs to the folder.
    """

    def __init__(
        self, *, encoder: Encoder, inputs: Inputs, scales: Scales, net: torch.nn.Module, trained_encoder: bool
    ) -> None:
        self.encoder = encoder
        self.inputs = inputs
        self.scales = scales
        self.net = net
        self.trained_encoder = trained_encoder

    def predict(
        self, prompts: Sequence[str], prefixes: Sequence[str], n_tokens: Sequence[int]
    ) -> npt.NDArray[np.float64]:
        """Return the remaining tokens of each row, 0 or more, shape (rows,).

        Args:
            prompts: the prompt of each row.
            prefixes: the answer so far; empty before the first token.
            n_tokens: tokens of the answer so far, in the model's own tokens.

        Raises:
            DataError: the three are not of one length.
        """
        if not len(prompts) == len(prefixes) == len(n_tokens):
            raise DataError(f"predict: {len(prompts)} prompts, {len(prefixes)} prefixes, {len(n_tokens)} token counts.")
        if not len(prompts):
            return np.zeros(0)
        return self.remaining(self.scales.scaled(self.inputs.raw(self.encoder, prompts, prefixes, n_tokens)))

    def remaining(self, scaled: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Predict from scaled inputs."""
        import torch

        with torch.inference_mode():
            parts = [self.outputs(scaled[i : i + 4096]).numpy() for i in range(0, len(scaled), 4096)]
        return self.scales.to_tokens(np.concatenate(parts))

    def outputs(self, scaled: npt.NDArray[np.float32]) -> torch.Tensor:
        """Return what the network gives, in target units, with gradients."""
        import torch

        out: torch.Tensor = self.net(torch.from_numpy(scaled)).squeeze(1)
        return out

    def live_outputs(self, prompts: Sequence[str], prefixes: Sequence[str], n_tokens: Sequence[int]) -> torch.Tensor:
        """Like `outputs`, through the encoder, so that the gradients reach it: for fine-tuning."""
        import torch

        embed: Any = getattr(self.encoder, "embed")  # noqa: B009 - only encoders that can be trained have it
        vectors = [embed(texts).cpu() for texts in self.inputs.texts(prompts, prefixes)]
        numbers = torch.from_numpy(self.inputs.numbers(prompts, prefixes, n_tokens))
        raw = torch.cat([*vectors, numbers], dim=1)
        scaled = (raw - torch.from_numpy(self.scales.shift)) * torch.from_numpy(self.scales.factor)
        out: torch.Tensor = self.net(scaled).squeeze(1)
        return out


def save(predictor: Predictor, out: Path, *, encoder: dict[str, Any], report: bytes) -> None:
    """Write a predictor's folder; `config.json` comes last, so a folder that has it is whole."""
    from safetensors.torch import save as to_bytes

    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG).unlink(missing_ok=True)
    if predictor.trained_encoder:
        saver: Any = predictor.encoder
        saver.save(out / ENCODER)
    tensors = {f"net.{name}": tensor.contiguous() for name, tensor in predictor.net.state_dict().items()}
    import torch

    tensors |= {name: torch.from_numpy(getattr(predictor.scales, name).copy()) for name in ("shift", "factor")}
    weights = [tensor for name, tensor in tensors.items() if name.endswith("weight")]
    config = Config(
        encoder={**encoder, "model": ENCODER} if predictor.trained_encoder else encoder,
        encoder_identity=getattr(predictor.encoder, "identity", ""),
        inputs=predictor.inputs,
        sizes=(weights[0].shape[1], weights[0].shape[0] if len(weights) > 1 else 1, len(weights)),
        target_shift=predictor.scales.target_shift,
        target_spread=predictor.scales.target_spread,
        log_targets=predictor.scales.log,
    )
    for name, content in (
        (WEIGHTS, to_bytes(tensors)),
        (REPORT, report + b"\n"),
        (CONFIG, msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n"),
    ):
        with atomic(out / name) as file:
            file.write(content)


def load_predictor(folder: Path | str, *, encoder: Encoder | None = None) -> Predictor:
    """Load a trained predictor.

    Args:
        folder: where training put it.
        encoder: the encoder to use, such as one with a store; by default the one named in `config.json` is loaded.

    Raises:
        DataError: not such a folder, or the encoder is not the one of the training.
        MissingExtra: torch is not installed.
    """
    folder = Path(folder)
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load as from_bytes
    except ImportError as error:
        raise MissingExtra("train", needed_for="the length predictor") from error
    try:
        config = msgspec.json.decode((folder / CONFIG).read_bytes(), type=Config)
        tensors = from_bytes((folder / WEIGHTS).read_bytes())
        shift, factor = (tensors.pop(name).numpy() for name in ("shift", "factor"))
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file. Give the folder of a finished training.") from error
    except (msgspec.DecodeError, SafetensorError, KeyError, OSError) as error:
        raise DataError(f"{folder}: is no length predictor, or is damaged: {error}. Train it again.") from error
    if encoder is None:
        spec = dict(config.encoder)
        trained = spec.get("model") == ENCODER and (folder / ENCODER).is_dir()
        encoder = registry.build("encoders", {**spec, "model": str(folder / ENCODER)} if trained else spec)
    assert encoder is not None
    if (identity := getattr(encoder, "identity", "")) != config.encoder_identity:
        raise DataError(
            f"{folder}: was trained on another encoder ({config.encoder_identity or 'no identity'}, now "
            f"{identity or 'no identity'}). Give the encoder of the training."
        )
    inputs, width, depth = config.sizes
    net = layers(inputs, width=width, depth=depth, seed=0)
    try:
        net.load_state_dict({name.removeprefix("net."): tensor for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise DataError(f"{folder}: {WEIGHTS} does not fit {CONFIG}. Train it again.") from error
    scales = Scales(
        shift=shift,
        factor=factor,
        target_shift=config.target_shift,
        target_spread=config.target_spread,
        log=config.log_targets,
    )
    return Predictor(encoder=encoder, inputs=config.inputs, scales=scales, net=net.eval(), trained_encoder=False)
