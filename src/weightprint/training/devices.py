"""Where networks train: devices by name."""

from __future__ import annotations

import torch

from weightprint.errors import SetupError


def refuse_absent_device(name: str) -> None:
    """Raise SetupError for what is no device, or none of this machine: "cpu", "cuda", "cuda:1", …"""
    here = usable_devices()
    try:
        device = torch.device(name)
        if device.type == "cuda":
            absent = not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
            problem = f"{torch.cuda.device_count()} GPUs are here" if absent else ""
        else:
            problem = ""
            torch.zeros(1, device=device).tolist()
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
    if problem:
        raise SetupError(f"no device {name!r} to train on: {problem}", hint=f"there are: {', '.join(here)}")


def usable_devices() -> list[str]:
    """The names of this machine's devices, "cpu" first."""
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()) if torch.cuda.is_available())]
