"""weightprint reads a network's training set-up out of its weights."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "DMC": "meta",
    "EverydaySetup": "setups",
    "EverydaySpace": "setups",
    "ImageSet": "images",
    "LayerTrees": "meta",
    "Layout": "zoo.layout",
    "Recorder": "formats.recorder",
    "Run": "zoo",
    "SVM": "meta",
    "Setup": "setups",
    "SliceTrees": "meta",
    "Space": "setups",
    "Trees": "meta",
    "WeightsDataset": "formats.weights_dataset",
    "WeightprintError": "errors",
    "Zoo": "zoo",
    "bench": "report.bench:run_bench",
    "add_images": "images.adding:add",
    "compare_checkpoints": "inspection.comparison",
    "export_folder": "formats.exports",
    "export_graph": "formats.exports",
    "export_hub": "formats.exports",
    "export_nws": "formats.nws_export",
    "fetch_images": "images.adding:fetch",
    "import_folder": "formats.checkpoint_folder",
    "import_model_zoos": "formats.model_zoos",
    "import_nws": "formats.nws",
    "import_small_cnn_zoo": "formats.small_cnn_zoo",
    "inspect": "inspection.inspect",
    "load_images": "images:load",
    "load_meta": "meta",
    "merge": "sampling.sample",
    "pull": "formats.hub",
    "push": "formats.hub",
    "recover": "formats.recordings",
    "run_demo": "demo",
    "run_study": "report.study_page",
    "sample": "sampling.sample",
    "train": "training.loop",
    "train_everyday": "training.everyday.loop",
    "write_report": "report",
}
"""Public names and the modules that hold them, "module:name" where it has another name there; a module is loaded when
its name is first used."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'weightprint' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"weightprint.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)
