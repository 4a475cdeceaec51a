"""Edits of weight vectors: those that keep the network's function, and those that nearly keep it.

Each is a pure function of weights [T, P] and their layout that returns edited weights [T, P'] (float32) and their
layout. Rows are snapshots of one run in order; random choices are the same in all of them, but for noise.

The edits that keep the function know the networks of `weightprint.setups.Setup`: a convolution is normalised before
its activation, a fully connected layer after it. Other layouts are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from weightprint.errors import MetaError
from weightprint.features.layers import Layer, layers_of
from weightprint.features.permutation import permute_units
from weightprint.training.architecture import BATCH_NORM_EPSILON
from weightprint.zoo.layout import NORM_KINDS, Layout, Tensor

Weights = npt.NDArray[np.float32]
Edited = tuple[Weights, Layout]
Values = dict[str, npt.NDArray[np.float64]]
"""Tensors by name, float64 [T, *shape]."""

LARGEST_FACTOR = 4.0
"""Units are multiplied by up to this, and by no less than one over it."""
NOISE = 0.01
"""Standard deviation of the noise, as a share of that of the layer's kernel."""


def fold_batch_norm(weights: Weights, layout: Layout) -> Edited:
    """Every batch norm written into the weights beside it, and its tensors taken out, as exporters do.

    Of a convolution, γ (x − mean) / √(variance + ε) + β goes into its own kernel and bias; of a fully connected layer,
    whose norm comes after the activation, into the kernel and bias of the next layer.
    """
    values = _tensors_of(weights, layout)
    for layer, following in _plain_layers(layout):
        if "gamma" not in layer.others:
            continue
        beta, gamma, mean, variance = (values[layer.others[kind].name] for kind in NORM_KINDS)
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        shift = beta - mean * scale
        if layer.is_conv:
            kernel, bias = f"{layer.name}/kernel", f"{layer.name}/bias"
            values[kernel] *= scale[:, :, None, None, None]
            values[bias] = values[bias] * scale + shift
        elif following is not None:
            kernel, bias = f"{following.name}/kernel", f"{following.name}/bias"
            values[bias] += (values[kernel] @ shift[:, :, None])[:, :, 0]
            values[kernel] *= scale[:, None, :]
    kept: list[Tensor] = []
    for tensor in layout:
        if tensor.kind not in NORM_KINDS:
            kept.append(replace(tensor, offset=kept[-1].stop if kept else 0))
    folded = Layout(kept)
    return _joined(values, folded), folded


def rescale_before_norm(weights: Weights, layout: Layout, *, generator: np.random.Generator) -> Edited:
    """Each unit that a batch norm follows multiplied by a factor of 1 to LARGEST_FACTOR, which the norm takes off.

    Of a convolution kernel and bias are multiplied; of a fully connected layer, whose norm comes after the activation,
    the norm's γ and β, and the next layer's weights are divided.
    """
    values = _tensors_of(weights, layout)
    for layer, following in _plain_layers(layout):
        if "gamma" not in layer.others:
            continue
        factors = LARGEST_FACTOR ** generator.random(layer.others["bias"].size)
        if layer.is_conv:
            _multiply(values, layer, ("kernel", "bias"), factors)
            _follow_in_statistics(values, layer, factors)
        elif following is not None:
            _multiply(values, layer, ("gamma", "beta"), factors)
            _divide_inputs(values, following, factors)
    return _joined(values, layout), layout


def rescale_relu(weights: Weights, layout: Layout, *, generator: np.random.Generator) -> Edited:
    """Each hidden unit's input to its ReLU multiplied by a positive factor and what reads the unit divided by it:
    relu(c x) = c relu(x).

    Factors lie between 1 / LARGEST_FACTOR and LARGEST_FACTOR; where a norm comes after the ReLU, between 1 and
    LARGEST_FACTOR, and the norm takes it off. The function is kept where the activation is ReLU.
    """
    values = _tensors_of(weights, layout)
    for layer, following in _plain_layers(layout):
        if following is None:
            continue
        normed = "gamma" in layer.others
        exponents = generator.random(layer.others["bias"].size)
        if normed and not layer.is_conv:
            factors = LARGEST_FACTOR**exponents
            _multiply(values, layer, ("kernel", "bias"), factors)
            _follow_in_statistics(values, layer, factors)
            continue
        factors = LARGEST_FACTOR ** (2 * exponents - 1)
        _multiply(values, layer, ("gamma", "beta") if normed else ("kernel", "bias"), factors)
        _divide_inputs(values, following, factors)
    return _joined(values, layout), layout


def to_float16(weights: Weights, layout: Layout) -> Edited:
    """Every weight rounded to IEEE half precision; what is too large for it becomes its largest number."""
    limit = np.finfo(np.float16).max
    return weights.clip(-limit, limit).astype(np.float16).astype(np.float32), layout


def quantize(weights: Weights, layout: Layout, *, bits: int) -> Edited:
    """Kernels rounded to whole multiples of a step of each unit's own, symmetric about 0, of `bits` bits; vectors stay.

    The step is the unit's largest absolute weight / (2^(bits − 1) − 1), as weight-only quantization per channel has it.
    """
    edited = weights.copy()
    levels = 2 ** (bits - 1) - 1
    for rows in _kernels(edited, layout):  # [T, o, n]
        step = np.abs(rows).max(axis=2, keepdims=True) / levels
        rows[:] = np.where(step > 0, np.rint(rows / np.where(step > 0, step, 1)) * step, rows)
    return edited, layout


def prune(weights: Weights, layout: Layout, *, share: float) -> Edited:
    """Of each kernel the `share` of weights with the smallest absolute value set to 0; vectors stay."""
    edited = weights.copy()
    for rows in _kernels(edited, layout):
        flat = np.abs(rows).reshape(len(rows), -1)
        count = round(share * flat.shape[1])
        smallest = np.argpartition(flat, count - 1, axis=1)[:, :count] if count else np.zeros((len(rows), 0), int)
        kept = np.ones(flat.shape, bool)
        np.put_along_axis(kept, smallest, False, axis=1)
        rows *= kept.reshape(rows.shape)
    return edited, layout


def add_noise(weights: Weights, layout: Layout, *, generator: np.random.Generator) -> Edited:
    """Gaussian noise on all weights but moving statistics: NOISE times the standard deviation of the layer's kernel."""
    edited = weights.copy()
    for layer in layers_of(layout):
        if layer.kernel is None:
            continue
        spread = NOISE * weights[:, layer.kernel.offset : layer.kernel.stop].std(axis=1, keepdims=True)
        for tensor in (layer.kernel, *layer.others.values()):
            if not tensor.kind.startswith("moving"):
                drawn = generator.standard_normal((len(weights), tensor.size), np.float32)
                edited[:, tensor.offset : tensor.stop] += spread * drawn
    return edited, layout


def average_with_last(weights: Weights, layout: Layout) -> Edited:
    """Each snapshot averaged with the one before, moving statistics too; the first stays."""
    edited = weights.copy()
    edited[1:] = (weights[1:] + weights[:-1]) / 2
    return edited, layout


@dataclass(frozen=True)
class Edit:
    """An edit that runs are put through.

    name:        unique; what tables call it
    change:      weights, layout and a generator → edited weights and layout
    keeps:       whether the function is kept, up to rounding
    activations: of the networks whose function it keeps; empty for all
    """

    name: str
    change: Callable[[Weights, Layout, np.random.Generator], Edited]
    keeps: bool = False
    activations: tuple[str, ...] = ()

    def suits(self, properties: Mapping[str, object]) -> bool:
        """Whether it does to a run of these properties what it says."""
        return not self.activations or properties.get("activation") in self.activations


EDITS: Mapping[str, Edit] = {
    edit.name: edit
    for edit in (
        Edit("permuted", lambda w, layout, g: (permute_units(w, layout, generator=g), layout), keeps=True),
        Edit("rescaled before norm", lambda w, layout, g: rescale_before_norm(w, layout, generator=g), keeps=True),
        Edit("ReLU rescaled", lambda w, layout, g: rescale_relu(w, layout, generator=g), True, ("relu",)),
        Edit("batch norm folded", lambda w, layout, _: fold_batch_norm(w, layout), keeps=True),
        Edit("float16", lambda w, layout, _: to_float16(w, layout)),
        Edit("int8", lambda w, layout, _: quantize(w, layout, bits=8)),
        Edit("int4", lambda w, layout, _: quantize(w, layout, bits=4)),
        Edit("pruned 50 %", lambda w, layout, _: prune(w, layout, share=0.5)),
        Edit("pruned 90 %", lambda w, layout, _: prune(w, layout, share=0.9)),
        Edit("noise 1 %", lambda w, layout, g: add_noise(w, layout, generator=g)),
        Edit("two snapshots averaged", lambda w, layout, _: average_with_last(w, layout)),
    )
}
"""Edits by name: those that keep the function first."""

VERSION = 1
"""Raised whenever an edit of the same name gives other weights."""


def _tensors_of(weights: Weights, layout: Layout) -> Values:
    return {t.name: weights[:, t.offset : t.stop].astype(np.float64).reshape(len(weights), *t.shape) for t in layout}


def _joined(values: Values, layout: Layout) -> Weights:
    return np.concatenate([values[t.name].reshape(len(values[t.name]), -1) for t in layout], axis=1, dtype=np.float32)


def _plain_layers(layout: Layout) -> list[tuple[Layer, Layer | None]]:
    """Each layer and the one that reads it. Raises MetaError for a layout of other networks than Setup's."""
    layers = layers_of(layout)
    names = [f"conv{i + 1}" for i in range(sum(layer.is_conv for layer in layers))]
    names += [f"fc{i + 1}" for i in range(len(layers) - len(names) - 1)]
    known = [layer.kernel is not None and layer.kernel.reads is None and "bias" in layer.others for layer in layers]
    if [layer.name for layer in layers] != [*names, "output"] or not all(known):
        raise MetaError(
            "this edit knows the networks of the spaces main, fixed, wild and demo alone, and this layout is another's",
            hint="for other networks: float16, int8, int4, pruned, noise",
        )
    return list(zip(layers, (*layers[1:], None), strict=True))


def _multiply(values: Values, layer: Layer, kinds: tuple[str, ...], factors: npt.NDArray[np.float64]) -> None:
    for kind in kinds:
        tensor = values[f"{layer.name}/{kind}"]
        tensor *= factors.reshape(-1, *(1 for _ in tensor.shape[2:]))


def _follow_in_statistics(values: Values, layer: Layer, factors: npt.NDArray[np.float64]) -> None:
    """Moving statistics of inputs that were multiplied: the variance so that √(variance + ε) is multiplied too."""
    values[f"{layer.name}/moving_mean"] *= factors
    variance = values[f"{layer.name}/moving_variance"]
    variance[:] = factors**2 * (variance + BATCH_NORM_EPSILON) - BATCH_NORM_EPSILON


def _divide_inputs(values: Values, layer: Layer, factors: npt.NDArray[np.float64]) -> None:
    """A kernel's inputs, which are the units that were multiplied, or places of their maps with channels last."""
    kernel = values[f"{layer.name}/kernel"]
    of_inputs = np.tile(factors, kernel.shape[2] // len(factors))
    kernel /= of_inputs.reshape(-1, *(1 for _ in kernel.shape[3:]))


def _kernels(weights: Weights, layout: Layout) -> Iterable[Weights]:
    """Views [T, o, n] of the kernels in weights."""
    for tensor in layout:
        if tensor.kind == "kernel" and tensor.size:
            yield weights[:, tensor.offset : tensor.stop].reshape(len(weights), tensor.shape[0], -1)
