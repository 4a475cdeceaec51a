"""Where in an unpickled checkpoint the weights are, and what the rest of it declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weightprint.errors import CheckpointError
from weightprint.formats.limits import MAX_DEPTH
from weightprint.formats.named_tensors import Stored
from weightprint.formats.pickled_tensors import PickledArray
from weightprint.formats.pickles import Unbuilt
from weightprint.formats.plain import plain

USUAL_KEYS = (
    *("state_dict", "model_state_dict", "model_state", "net_state_dict", "network_state_dict"),
    *("model", "net", "network", "module", "weights", "params", "parameters", "classifier"),
    *("ema", "ema_state_dict", "model_ema", "state_dict_ema", "params_ema", "state"),
)
"""Under these keys a network's state dict is looked for, in this order."""

SLOT_RULES = (  # the state that a rule keeps per weight, PyTorch's names
    ({"square_avg", "acc_delta"}, "adadelta"),
    ({"mu_product"}, "nadam"),
    ({"exp_inf"}, "adamax"),
    ({"exp_avg", "exp_avg_sq"}, "adam or adamw"),
    ({"square_avg"}, "rmsprop"),
    ({"sum"}, "adagrad"),
    ({"momentum_buffer"}, "sgd"),
)
GROUP_RULES = (  # the hyper-parameters that only one rule has
    ({"nesterov", "dampening"}, "sgd"),
    ({"momentum_decay"}, "nadam"),
    ({"alpha", "centered"}, "rmsprop"),
    ({"rho"}, "adadelta"),
    ({"lr_decay", "initial_accumulator_value"}, "adagrad"),
    ({"betas", "amsgrad"}, "adam or adamw"),
)


@dataclass(frozen=True)
class Found:
    """State dicts of a checkpoint with the prefix of their names, and what else there is.

    optimizer: where → number of tensors in an optimizer's state
    """

    state_dicts: tuple[tuple[str, dict[str, Stored]], ...]
    declared: dict[str, Any]
    optimizer: dict[str, int]
    others: tuple[str, ...]


def find_state_dicts(top: Any) -> Found:
    """Looks through an unpickled value for the weights.

    Raises CheckpointError for a pickled module, and where there are no weights.
    """
    if isinstance(top, Unbuilt):
        if not _is_state_dict(top.items):
            raise pickled_object(top)
        top = top.items  # a dictionary of some class of its own
    if _stored(top) is not None:
        top = {"tensor": top}
    if isinstance(top, (list, tuple)):
        top = {str(number): value for number, value in enumerate(top)}
    if not isinstance(top, dict):
        raise CheckpointError(
            f"a pickle of {type(top).__name__}, without weights", hint="save model.state_dict() with torch.save"
        )
    if _is_state_dict(top):
        return Found((("", _flat(top)),), {}, {}, ())
    declared: dict[str, Any] = {}
    optimizers: dict[str, int] = {}
    candidates: dict[str, dict[str, Stored]] = {}
    modules: list[Unbuilt] = []
    for key, value in top.items():
        name = str(key)
        if (state := _optimizer_state(value)) is not None:
            declared.setdefault("optimizer", state[0])
            optimizers[name] = state[1]
        elif (inner := _state_dict_in(value)) is not None:
            candidates[name] = inner
        elif isinstance(value, Unbuilt) and _is_module(value):
            modules.append(value)
        elif not isinstance(value, (Stored, PickledArray)):
            declared[name] = plain(value)
    if modules and not candidates:
        raise pickled_object(modules[0])
    if not candidates:
        raise CheckpointError("it holds no weights", hint="give the file that holds the trained network")
    usual = next((key for key in USUAL_KEYS if key in candidates), None)
    if usual is not None:
        others = tuple(name for name in candidates if name != usual)
        return Found((("", candidates[usual]),), declared, optimizers, others)
    alone = len(candidates) == 1
    parts = tuple(("" if alone else f"{name}.", state_dict) for name, state_dict in candidates.items())
    return Found(parts, declared, optimizers, ())


def pickled_object(value: Unbuilt) -> CheckpointError:
    """The refusal of a file that is a pickled object; `{path}` in its hint is for the caller to fill."""
    if not _is_module(value):
        return CheckpointError(
            f"a pickled object of the class {value.name}: reading it would run the code of that class",
            hint="save the network's state_dict() instead",
        )
    return CheckpointError(
        f"a pickled module of the class {value.name}: reading it would run code that comes with the file",
        hint="who trusts the file and has its class at hand can convert it:\n"
        "    m = torch.load({path!r}, map_location='cpu', weights_only=False)\n"
        "    torch.save(m.state_dict(), {path!r} + '.state_dict.pt')",
    )


def without_wrappers(names: list[str]) -> dict[str, str]:
    """Each name without the prefixes of wrappers: `_orig_mod.` (torch.compile) wherever it stands, `module.` (data
    parallel, averaged models) where all names with a dot have it."""
    short = {name: name.replace("_orig_mod.", "") for name in names}
    while True:
        nested = [value for value in short.values() if "." in value]
        if not nested or not all(value.startswith("module.") for value in nested):
            break
        short = {name: value.removeprefix("module.") for name, value in short.items()}
    return short if len(set(short.values())) == len(short) else {name: name for name in names}


def _stored(value: Any) -> Stored | None:
    if isinstance(value, PickledArray):
        return value.stored
    return value if isinstance(value, Stored) else None


def _is_module(value: Unbuilt) -> bool:
    return {"_parameters", "_modules"} <= set(value.attributes)


def _is_state_dict(value: Any) -> bool:
    """Whether a mapping's values are tensors, at least one, under names."""
    return isinstance(value, dict) and any(
        isinstance(key, str) and _stored(item) is not None for key, item in value.items()
    )


def _state_dict_in(value: Any, depth: int = 0) -> dict[str, Stored] | None:
    """The state dict that `value` is or holds under a usual key; lists of tensors or of state dicts are numbered."""
    if depth > 3:
        return None
    if isinstance(value, Unbuilt):
        value = value.items
    if isinstance(value, (list, tuple)) and value:
        value = {str(number): item for number, item in enumerate(value)}
    if not isinstance(value, dict):
        return None
    if _is_state_dict(value):
        return _flat(value)
    for key in USUAL_KEYS:
        if key in value and (inner := _state_dict_in(value[key], depth + 1)) is not None:
            return inner
    nested = {key: _flat(item) for key, item in value.items() if isinstance(key, str) and _is_state_dict(item)}
    if not nested or any(_optimizer_state(item) is not None for item in value.values()):
        return None
    if len(nested) == 1:
        return next(iter(nested.values()))
    return {f"{key}.{name}": stored for key, inner in nested.items() for name, stored in inner.items()}


def _flat(state_dict: Mapping[str, Any]) -> dict[str, Stored]:
    """Names and tensors; dictionaries in it are walked into, their names joined by dots."""
    return dict(_walk(state_dict, "", 0))


def _walk(value: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Stored]]:
    if depth > MAX_DEPTH:
        raise CheckpointError(f"dictionaries more than {MAX_DEPTH} deep")
    for key, item in value.items():
        stored = _stored(item)
        if stored is not None:
            yield f"{prefix}{key}", stored
        elif isinstance(item, dict) and _is_state_dict(item):
            yield from _walk(item, f"{prefix}{key}.", depth + 1)


def _optimizer_state(value: Any) -> tuple[dict[str, Any], int] | None:
    """(what is declared, tensors in the state) of an optimizer's state dict, or of the first of a list of them."""
    if isinstance(value, (list, tuple)) and len(value) in range(1, 9):
        found = [_optimizer_state(item) for item in value if isinstance(item, dict)]
        states = [state for state in found if state is not None]
        return (states[0][0], sum(state[1] for state in states)) if len(states) == len(value) else None
    if not isinstance(value, dict) or "state" not in value or not isinstance(value.get("param_groups"), list):
        return None
    groups = [
        plain({key: item for key, item in group.items() if key != "params"})
        for group in value["param_groups"][:100]
        if isinstance(group, dict)
    ]
    state = value["state"] if isinstance(value["state"], dict) else {}
    slots = {str(slot) for item in list(state.values())[:1] if isinstance(item, dict) for slot in item}
    tensors = sum(
        _stored(item) is not None for slot in state.values() if isinstance(slot, dict) for item in slot.values()
    )
    first = groups[0] if groups else {}
    declared = {"rule": optimizer_rule(slots, first), **first}
    if len(groups) > 1:
        declared["param_groups"] = groups
    return declared, tensors


def optimizer_rule(slots: set[str], group: Mapping[str, Any]) -> str | None:
    """The update rule, as far as its state and hyper-parameters tell it (PyTorch writes no name); None where not."""
    rule = next((rule for keys, rule in GROUP_RULES if keys <= set(group)), None)
    rule = rule or next((rule for keys, rule in SLOT_RULES if keys <= slots), None)
    if rule == "adam or adamw" and "decoupled_weight_decay" in group:
        return "adamw" if group["decoupled_weight_decay"] else "adam"
    return rule
