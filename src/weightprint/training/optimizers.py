"""Update rules on one flat buffer that holds all trainable weights.

`adam`, `rmsprop` and `momentum` are TensorFlow 1's, which the paper used; `rmsprop_keras` is Keras 3's; the others are
torch 2's. Weight decay is decoupled for adamw and added to the gradient for the others.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
"""Of the paper's momentum rule."""


class FlatParameters:
    """All trainable parameters as views into one buffer `values` [n], and their gradients in one, `gradients` [n]."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.values = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self.gradients = torch.zeros_like(self.values)
        start = 0
        for parameter in self.parameters:
            stop = start + parameter.numel()
            parameter.data = self.values[start:stop].view(parameter.shape)
            start = stop

    def backward(self, loss: Tensor) -> None:
        """Set `gradients` to those of a loss."""
        gradients = torch.autograd.grad(loss, self.parameters)
        torch.cat([gradient.reshape(-1) for gradient in gradients], out=self.gradients)


class Optimizer(ABC):
    """One rule: `step` changes `values` in place from `gradients`, both [n]."""

    def __init__(self, values: Tensor, gradients: Tensor, *, weight_decay: float = 0.0) -> None:
        self.values = values
        self.gradients = gradients
        self.weight_decay = weight_decay

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        if self.weight_decay:
            self._decay(learning_rate)
        self._update(learning_rate)

    def _decay(self, learning_rate: float) -> None:
        self.gradients.add_(self.values, alpha=self.weight_decay)

    @abstractmethod
    def _update(self, learning_rate: float) -> None: ...


class SGD(Optimizer):
    """θ ← θ − η g"""

    def _update(self, learning_rate: float) -> None:
        self.values.sub_(self.gradients, alpha=learning_rate)


class Momentum(Optimizer):
    """a ← μ a + g; θ ← θ − η a, with μ = 0.95 unless it is given (tf.train.MomentumOptimizer)"""

    def __init__(
        self, values: Tensor, gradients: Tensor, *, weight_decay: float = 0.0, momentum: float = MOMENTUM
    ) -> None:
        super().__init__(values, gradients, weight_decay=weight_decay)
        self.decay = momentum
        self.accumulator = torch.zeros_like(values)

    def _update(self, learning_rate: float) -> None:
        self.accumulator.mul_(self.decay).add_(self.gradients)
        self.values.sub_(self.accumulator, alpha=learning_rate)


class Nesterov(Momentum):
    """a ← μ a + g; θ ← θ − η (g + μ a), with μ as for Momentum (torch.optim.SGD with nesterov)"""

    def _update(self, learning_rate: float) -> None:
        self.accumulator.mul_(self.decay).add_(self.gradients)
        self.values.sub_(self.gradients, alpha=learning_rate)
        self.values.sub_(self.accumulator, alpha=learning_rate * self.decay)


class Adam(Optimizer):
    """m ← 0.9 m + 0.1 g; v ← 0.999 v + 0.001 g²; θ ← θ − η √(1 − 0.999ᵗ) / (1 − 0.9ᵗ) · m / (√v + ε)

    tf.train.AdamOptimizer: ε is added to the uncorrected √v (Kingma and Ba 2015, end of section 2).
    """

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(self, values: Tensor, gradients: Tensor, *, weight_decay: float = 0.0) -> None:
        super().__init__(values, gradients, weight_decay=weight_decay)
        self.mean = torch.zeros_like(values)
        self.square = torch.zeros_like(values)
        self.steps = 0

    def _moments(self) -> tuple[float, float]:
        self.steps += 1
        self.mean.lerp_(self.gradients, 1 - self.beta1)
        self.square.mul_(self.beta2).addcmul_(self.gradients, self.gradients, value=1 - self.beta2)
        return 1 - self.beta1**self.steps, math.sqrt(1 - self.beta2**self.steps)

    def _update(self, learning_rate: float) -> None:
        mean_correction, root_correction = self._moments()
        rate = learning_rate * root_correction / mean_correction
        self.values.addcdiv_(self.mean, self.square.sqrt().add_(self.epsilon), value=-rate)


class AdamW(Adam):
    """As Adam, but ε is added to the corrected √v, and θ ← (1 − η λ) θ before each step (torch.optim.AdamW)"""

    def _decay(self, learning_rate: float) -> None:
        self.values.mul_(1 - learning_rate * self.weight_decay)

    def _update(self, learning_rate: float) -> None:
        mean_correction, root_correction = self._moments()
        denominator = self.square.sqrt().div_(root_correction).add_(self.epsilon)
        self.values.addcdiv_(self.mean, denominator, value=-learning_rate / mean_correction)


class RMSProp(Optimizer):
    """s ← 0.9 s + 0.1 g², from s = 1; θ ← θ − η g / √(s + 1e-10) (tf.train.RMSPropOptimizer)"""

    decay, epsilon = 0.9, 1e-10

    def __init__(self, values: Tensor, gradients: Tensor, *, weight_decay: float = 0.0) -> None:
        super().__init__(values, gradients, weight_decay=weight_decay)
        self.square = torch.ones_like(values)

    def _update(self, learning_rate: float) -> None:
        self.square.mul_(self.decay).addcmul_(self.gradients, self.gradients, value=1 - self.decay)
        self.values.addcdiv_(self.gradients, self.square.add(self.epsilon).sqrt_(), value=-learning_rate)


class RMSPropTorch(Optimizer):
    """s ← 0.99 s + 0.01 g², from s = 0; θ ← θ − η g / (√s + 1e-8) (torch.optim.RMSprop)"""

    decay, epsilon = 0.99, 1e-8

    def __init__(self, values: Tensor, gradients: Tensor, *, weight_decay: float = 0.0) -> None:
        super().__init__(values, gradients, weight_decay=weight_decay)
        self.square = torch.zeros_like(values)

    def _update(self, learning_rate: float) -> None:
        self.square.mul_(self.decay).addcmul_(self.gradients, self.gradients, value=1 - self.decay)
        self.values.addcdiv_(self.gradients, self.square.sqrt().add_(self.epsilon), value=-learning_rate)


class RMSPropKeras(RMSProp):
    """s ← 0.9 s + 0.1 g², from s = 0; θ ← θ − η g / √(s + 1e-7) (keras.optimizers.RMSprop of Keras 3)"""

    epsilon = 1e-7

    def __init__(self, values: Tensor, gradients: Tensor, *, weight_decay: float = 0.0) -> None:
        super().__init__(values, gradients, weight_decay=weight_decay)
        self.square.zero_()


class NAdam(Adam):
    """m and v as Adam's; μₜ = 0.9 (1 − 0.5 · 0.96^(0.004 t)); θ ← θ − η [(1 − μₜ) / (1 − Πₜ) · g
    + μₜ₊₁ / (1 − Πₜ₊₁) · m] / (√(v / (1 − 0.999ᵗ)) + ε) with Πₜ = μ₁ … μₜ (torch.optim.NAdam; Dozat 2016)"""

    momentum_decay = 0.004

    def __init__(self, values: Tensor, gradients: Tensor, *, weight_decay: float = 0.0) -> None:
        super().__init__(values, gradients, weight_decay=weight_decay)
        self.product = 1.0

    def _scheduled(self, step: int) -> float:
        return self.beta1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay))

    def _update(self, learning_rate: float) -> None:
        _, root_correction = self._moments()
        now, following = self._scheduled(self.steps), self._scheduled(self.steps + 1)
        self.product *= now
        denominator = self.square.sqrt().div_(root_correction).add_(self.epsilon)
        self.values.addcdiv_(self.gradients, denominator, value=-learning_rate * (1 - now) / (1 - self.product))
        share = following / (1 - self.product * following)
        self.values.addcdiv_(self.mean, denominator, value=-learning_rate * share)


class Adagrad(Optimizer):
    """s ← s + g², from s = 0; θ ← θ − η g / (√s + 1e-10) (torch.optim.Adagrad; Duchi et al. 2011)"""

    epsilon = 1e-10

    def __init__(self, values: Tensor, gradients: Tensor, *, weight_decay: float = 0.0) -> None:
        super().__init__(values, gradients, weight_decay=weight_decay)
        self.sum = torch.zeros_like(values)

    def _update(self, learning_rate: float) -> None:
        self.sum.addcmul_(self.gradients, self.gradients)
        self.values.addcdiv_(self.gradients, self.sum.sqrt().add_(self.epsilon), value=-learning_rate)


class Adadelta(Optimizer):
    """s ← 0.9 s + 0.1 g²; δ = √(d + 1e-6) / √(s + 1e-6) · g; d ← 0.9 d + 0.1 δ²; θ ← θ − η δ, from s = d = 0
    (torch.optim.Adadelta; Zeiler 2012)"""

    decay, epsilon = 0.9, 1e-6

    def __init__(self, values: Tensor, gradients: Tensor, *, weight_decay: float = 0.0) -> None:
        super().__init__(values, gradients, weight_decay=weight_decay)
        self.square = torch.zeros_like(values)
        self.moved = torch.zeros_like(values)

    def _update(self, learning_rate: float) -> None:
        self.square.mul_(self.decay).addcmul_(self.gradients, self.gradients, value=1 - self.decay)
        move = self.moved.add(self.epsilon).sqrt_().div_(self.square.add(self.epsilon).sqrt_()).mul_(self.gradients)
        self.moved.mul_(self.decay).addcmul_(move, move, value=1 - self.decay)
        self.values.sub_(move, alpha=learning_rate)


RULES: dict[str, type[Optimizer]] = {
    "adam": Adam,
    "rmsprop": RMSProp,
    "momentum": Momentum,
    "sgd": SGD,
    "nesterov": Nesterov,
    "adamw": AdamW,
    "rmsprop_torch": RMSPropTorch,
    "rmsprop_keras": RMSPropKeras,
    "nadam": NAdam,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
}
"""By name; those of `weightprint.setups.OPTIMIZERS` are among them."""
