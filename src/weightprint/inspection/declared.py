"""What a file says of its own training, in the names that answers use, and where a verdict disagrees with it.

Declarations stand beside verdicts and never go into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from weightprint.formats.named_tensors import Graph
from weightprint.inspection.strangers import IMAGE_KINDS, OPTIMIZERS, SGD_LIKE


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.rpartition(">")[2].lower())


_ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid")
ACTIVATIONS = {**{_bare(name): name for name in _ACTIVATIONS}, "swish": "silu"}
"""Names of activations in files, in small letters without strokes → the name that answers use."""

_SCALED = ("uniform", "normal")
INITIALIZATIONS = {
    **{f"{author}{kind}": f"glorot_{kind}" for author in ("glorot", "xavier") for kind in _SCALED},
    **{f"{author}{kind}": f"he_{kind}" for author in ("he", "kaiming") for kind in _SCALED},
    **{_bare(name): name for name in ("orthogonal", "constant", "random_normal", "torch_default")},
}
"""The same of initialisations."""

DATA_SETS = {"fashion": "fashion_mnist", "fashionmnist": "fashion_mnist", "cifar": "cifar10"}
"""Other names of data sets."""


def declared_properties(declared: Mapping[str, Any], graph: Graph | None) -> dict[str, Any]:
    """Property → value, as far as a file's declarations and the graph that it holds tell it.

    A property of which the file names several values is left out.
    """
    found: dict[str, Any] = {}
    rule = _rule(declared)
    if rule is not None:
        found |= {"optimizer": rule, "optimizer_family": "sgd_like" if rule in SGD_LIKE else "adaptive"}
    activations, initializers = _hidden(graph)
    activations += [declared.get("activation")]
    initializers += [declared.get("initialization"), declared.get("initializer")]
    named = {
        "activation": set(_named(activations, ACTIVATIONS)),
        "initialization": set(_named(initializers, INITIALIZATIONS)),
    }
    found |= {name: values.pop() for name, values in named.items() if len(values) == 1}
    data_set = declared.get("dataset")
    if isinstance(data_set, str):
        name = _bare(data_set)
        kind = IMAGE_KINDS.get(DATA_SETS.get(name, data_set.lower().replace("-", "_")))
        if kind is not None:
            found["image_kind"] = kind
    return found


def disagreements(told: Mapping[str, Any], verdicts: Mapping[str, Any], silent: str) -> list[str]:
    """A sentence for each property of which the file says one thing and the verdict another.

    told:     property → what the file says
    verdicts: property → the verdict's answer, `silent` where there is none
    """
    return [
        f"{name}: the file itself says {told[name]}, its weights look like {answer}"
        for name, answer in verdicts.items()
        if name in told and answer not in (silent, told[name]) and {str(answer), told[name]} - _ALIKE
    ]


_ALIKE = {"rmsprop", "rmsprop_torch"}
"""Files don't tell these apart."""


def _rule(declared: Mapping[str, Any]) -> str | None:
    """The update rule that a file names, in the name that answers use."""
    named = declared.get("optimizer")
    settings: Mapping[str, Any] = named if isinstance(named, dict) else {}
    rule = settings.get("rule") if settings else named
    arguments = declared.get("training_args")
    if rule is None and isinstance(arguments, dict):
        rule = str(arguments.get("optim") or "").partition("_")[0]
    if not isinstance(rule, str) or rule == "rmsprop_torch":
        return rule if isinstance(rule, str) else None
    rule = OPTIMIZERS.get(rule.lower())
    if rule == "sgd":
        moment = settings.get("momentum")
        if isinstance(moment, (int, float)) and moment > 0:
            return "nesterov" if settings.get("nesterov") is True else "momentum"
    return rule


def _hidden(graph: Graph | None) -> tuple[list[Any], list[Any]]:
    """What may name an activation in the layers before the last one with weights, and the initializers of all with
    weights. What comes after the last layer with weights is the output's."""
    layers = graph.layers if graph is not None else ()
    last = max((number for number, layer in enumerate(layers) if layer.tensors), default=0)
    activations = [name for layer in layers[:last] for name in (layer.type, layer.attributes.get("activation"))]
    return activations, [layer.attributes.get("kernel_initializer") for layer in layers if layer.tensors]


def _named(values: Iterable[Any], names: Mapping[str, str]) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict):  # Keras: {"class_name": "GlorotUniform", "config": …}
            value = value.get("class_name")
        if isinstance(value, str) and _bare(value) in names:
            yield names[_bare(value)]
