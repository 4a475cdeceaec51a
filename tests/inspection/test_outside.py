"""Networks of other sorts than the shipped meta-classifier learnt from: it says that it cannot say.

Real modules with PyTorch's or other initialisations, some trained for a moment on tasks of no meaning.
"""

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from weightprint.inspection import shipped as shipped_module
from weightprint.inspection.inspect import inspect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (Path(shipped_module.__file__).parent / "shipped" / shipped_module.WORLD_FILE).exists(),
        reason="there is no shipped meta-classifier yet",
    ),
]


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        own = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + own)


class ResNet(nn.Module):
    """ResNet-18 is (2, 2, 2, 2), ResNet-34 (3, 4, 6, 3); names and initialisation as torchvision has them."""

    def __init__(self, blocks, outputs=1000):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for number, count in enumerate(blocks):
            width = 64 << number
            layers = [Residual(before if i == 0 else width, width, 2 if i == 0 and number else 1) for i in range(count)]
            setattr(self, f"layer{number + 1}", nn.Sequential(*layers))
            before = width
        self.fc = nn.Linear(before, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class Recurrent(nn.Module):
    def __init__(self, layer, inputs=20, width=64, outputs=10, **options):
        super().__init__()
        self.rnn = layer(inputs, width, batch_first=True, **options)
        self.head = nn.Linear(width * (2 if options.get("bidirectional") else 1), outputs)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self, tokens=100, width=32, layers=2, outputs=10):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, outputs)

    def forward(self, x):
        return self.head(self.encoder(self.embedding(x)).mean(1))


class ViT(nn.Module):
    def __init__(self, width=64, layers=4):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, 4, 4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 65, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, 2, 1)
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.out = nn.Conv2d(32, 1, 1)

    def forward(self, x):
        first = torch.relu(self.down1(x))
        return self.out(torch.cat([first, self.up(torch.relu(self.down2(first)))], 1))


class Experts(nn.Module):
    def __init__(self, inputs=16, count=4):
        super().__init__()
        self.gate = nn.Linear(inputs, count)
        self.experts = nn.ModuleList(mlp(inputs, 32, 3) for _ in range(count))

    def forward(self, x):
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        return (self.gate(x).softmax(1)[..., None] * outputs).sum(1)


def mlp(*sizes):
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet(scheme=None):
    module = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    return drawn(module, scheme)


def drawn(module, scheme):
    for layer in module.modules():
        if scheme is not None and isinstance(layer, (nn.Conv2d, nn.Linear)):
            scheme(layer.weight)
            nn.init.zeros_(layer.bias)
    return module


def vgg():
    widths, before, layers = (32, 32, 64, 64, 128, 128), 3, []
    for number, width in enumerate(widths):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if number % 2 else []
        before = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10))


def fitted(module, inputs, steps=150, rate=3e-3):
    """Regresses noise for a moment."""
    goals = torch.randn_like(module(inputs).detach())
    optimizer = torch.optim.Adam(module.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(module(inputs), goals).backward()
        optimizer.step()
    return module


def conv_autoencoder():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 2, 2), nn.ReLU(), nn.ConvTranspose2d(8, 1, 2, 2),
    )  # fmt: skip


def generator():
    return nn.Sequential(
        nn.ConvTranspose2d(64, 64, 4, 1, 0, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip


def regressor():
    from sklearn.datasets import load_diabetes

    inputs, goals = (torch.tensor(a, dtype=torch.float32) for a in load_diabetes(return_X_y=True, scaled=True))
    module = mlp(10, 64, 64, 1)
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.mse_loss(module(inputs * 20)[:, 0], goals / 100).backward()
        optimizer.step()
    return module


def siamese():
    return nn.Sequential(nn.Conv2d(1, 16, 5), nn.ReLU(), nn.Flatten(), nn.Linear(9216, 64))


def sound():
    return nn.Sequential(
        nn.Conv1d(1, 16, 9, 4), nn.ReLU(), nn.Conv1d(16, 32, 9, 4), nn.ReLU(), nn.Flatten(), nn.Linear(896, 35)
    )  # fmt: skip


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.EmbeddingBag(2000, 64)
        self.fc = nn.Linear(64, 4)

    def forward(self, x):
        return self.fc(self.embedding(x))


NETWORKS = {
    "a transformer of text": lambda: fitted(Attention(), torch.randint(100, (32, 12))),
    "a transformer, untrained": lambda: Attention(layers=4, width=64),
    "a vision transformer": ViT,
    "an LSTM": lambda: fitted(Recurrent(nn.LSTM), torch.randn(32, 12, 20)),
    "an LSTM in both directions": lambda: Recurrent(nn.LSTM, bidirectional=True, num_layers=2),
    "a GRU": lambda: fitted(Recurrent(nn.GRU), torch.randn(32, 12, 20)),
    "an autoencoder of an MLP": lambda: fitted(mlp(784, 128, 16, 128, 784), torch.rand(64, 784)),
    "an autoencoder of convolutions": lambda: fitted(conv_autoencoder(), torch.rand(16, 1, 28, 28)),
    "a U-Net": lambda: fitted(UNet(), torch.rand(8, 3, 32, 32)),
    "a regressor": regressor,
    "ResNet-18, untrained": lambda: ResNet((2, 2, 2, 2)),
    "ResNet-34, untrained": lambda: ResNet((3, 4, 6, 3)),
    "ResNet-18 of ten outputs, untrained": lambda: ResNet((2, 2, 2, 2), 10),
    "LeNet-5, untrained": lenet,
    "LeNet-5, Glorot, untrained": lambda: lenet(nn.init.xavier_uniform_),
    "LeNet-5, He, untrained": lambda: lenet(nn.init.kaiming_normal_),
    "LeNet-5, orthogonal, untrained": lambda: lenet(nn.init.orthogonal_),
    "an MLP, untrained": lambda: mlp(784, 256, 128, 10),
    "an MLP, Glorot, untrained": lambda: drawn(mlp(784, 256, 128, 10), nn.init.xavier_normal_),
    "VGG, untrained": vgg,
    "embeddings and a linear layer": lambda: fitted(Text(), torch.randint(2000, (64, 20)), rate=0.05),
    "embeddings alone": lambda: nn.Embedding(5000, 64),
    "a generator of images": lambda: fitted(generator(), torch.randn(8, 64, 1, 1), 50),
    "a Siamese network": lambda: fitted(siamese(), torch.rand(16, 1, 28, 28)),
    "one matrix": lambda: nn.Linear(784, 500, bias=False),
    "a policy": lambda: fitted(mlp(4, 64, 64, 2), torch.randn(256, 4)),
    "a mixture of experts": lambda: fitted(Experts(), torch.randn(256, 16)),
    "convolutions of sound": lambda: fitted(sound(), torch.randn(16, 1, 480)),
}


@pytest.mark.slow
def test_of_networks_outside_its_world_nine_answers_in_ten_are_cannot_say(tmp_path):
    answers, spoken = 0, []
    for number, (name, make) in enumerate(NETWORKS.items()):
        torch.manual_seed(number)
        torch.save(make().state_dict(), tmp_path / f"{number}.pth")
        for prop, verdict in inspect(tmp_path / f"{number}.pth").properties.items():
            answers += 1
            if verdict.verdict != "cannot say":
                spoken.append(f"{name}: {prop} {verdict.verdict}")
    print(f"{len(NETWORKS)} networks: cannot say in {answers - len(spoken)} of {answers} answers; {spoken}")
    assert len(spoken) <= 0.1 * answers, spoken


@pytest.mark.parametrize(
    ("name", "scheme"), [("ResNet-18, untrained", "he_normal"), ("LeNet-5, untrained", "torch_default")]
)
def test_an_untrained_network_is_told_with_its_scheme(tmp_path, name, scheme):
    torch.manual_seed(0)
    torch.save(NETWORKS[name]().state_dict(), tmp_path / "new.pth")
    start = inspect(tmp_path / "new.pth").facts["initialization"]
    assert (start["state"], start["scheme"]) == ("at initialisation", scheme)
