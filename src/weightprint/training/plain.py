"""One network under training in plain torch: what defines the result, and what trains where the kernels cannot."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weightprint.images import TrainingImages
from weightprint.images.augment import augment
from weightprint.setups import Setup
from weightprint.training.networks import Network
from weightprint.training.optimizers import RULES, FlatParameters
from weightprint.training.streams import Streams
from weightprint.training.vectors import load_vector, to_vector

EVALUATION_BATCH = 250


class PlainTraining:
    """A network, the images it is trained on and its update rule, on one device.

    vector:  [P] the weights to begin with; all is computed in their type
    streams: what dropout and augmentation are drawn from, on that device
    """

    def __init__(
        self,
        setup: Setup,
        vector: np.ndarray,
        images: TrainingImages,
        streams: Streams,
        *,
        device: str = "cpu",
    ) -> None:
        self.setup = setup
        dtype = torch.from_numpy(vector).dtype
        self._images = ResidentImages(images, device, dtype)
        self._streams, self._device = streams, device
        self._network = Network(setup).to(device, dtype)
        load_vector(self._network, vector)
        self._flat = FlatParameters(self._network.parameters())
        rule = RULES[setup.optimizer]
        self._optimizer = rule(self._flat.values, self._flat.gradients, weight_decay=setup.weight_decay)

    def vector(self) -> np.ndarray:
        """The weights [P]."""
        return to_vector(self._network).cpu().numpy()

    def step(self, indices: np.ndarray, learning_rate: float) -> None:
        """One update by a batch of training images, given by their indices [B]."""
        self._network.train()
        batch, labels = self._images.training_batch(torch.from_numpy(indices).to(self._device))
        if self.setup.augmentation:
            batch = augment(batch, generator=self._streams.augmentation).contiguous(memory_format=torch.channels_last)
        self._flat.backward(F.cross_entropy(self._network(batch, generator=self._streams.dropout), labels))
        self._optimizer.step(learning_rate)

    def evaluate(self) -> list[float]:
        """Accuracy and mean loss on train, validation and test images, in eval mode: six numbers."""
        return self._images.evaluate(self._network)


class ResidentImages:
    """The images of a run on its device: batches are index operations, evaluation one call.

    train, train_labels: bytes [N, 32, 32, 3] and labels [N]
    measured:            images and labels to evaluate on, of three parts: train, validation, test
    """

    def __init__(self, images: TrainingImages, device: str, dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype
        self.train = torch.from_numpy(images.x_train).to(device)
        self.train_labels = torch.from_numpy(images.y_train).to(device)
        probe = len(images.y_validation)  # the first training images: `prepare` deals one of each class in turn
        self.measured = [
            (self.train[:probe], self.train_labels[:probe]),
            *(
                (torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))
                for x, y in (images.validation, images.test)
            ),
        ]

    def training_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, 32, 32] in [0, 1], channels last in memory, and labels [B]."""
        return to_float(self.train[indices], self._dtype), self.train_labels[indices]

    def evaluate(self, network: Network) -> list[float]:
        """Accuracy and mean loss on train, validation and test images, in eval mode: six numbers."""
        network.eval()
        return [
            number for images, labels in self.measured for number in _evaluate(network, images, labels, self._dtype)
        ]


def to_float(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Bytes [B, H, W, 3] as numbers [B, 3, H, W] in [0, 1], channels last in memory."""
    return images.to(dtype).div_(255).permute(0, 3, 1, 2)


@torch.inference_mode()
def _evaluate(network: Network, images: Tensor, labels: Tensor, dtype: torch.dtype) -> tuple[float, float]:
    correct, loss = 0, 0.0
    for x, y in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
        scores = network(to_float(x, dtype))
        correct += int((scores.argmax(1) == y).sum())
        loss += float(F.cross_entropy(scores, y, reduction="sum"))
    return correct / len(labels), loss / len(labels)
