"""safetensors files, single and sharded, and Hugging Face folders."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from weightprint.errors import CheckpointError
from weightprint.formats import open_checkpoint


def tensors():
    torch.manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3),
        "conv.bias": torch.randn(4),
        "fc.weight": torch.randn(5, 16).bfloat16(),
        "fc.bias": torch.randn(5).half(),
        "steps": torch.tensor([3]),
    }


def test_a_single_file_with_its_metadata(tmp_path):
    path = tmp_path / "renamed.bin"
    save_file(tensors(), path, metadata={"format": "pt", "training": '{"optimizer": "adam", "lr": 0.1}'})
    checkpoint = open_checkpoint(path)
    assert checkpoint.format == "safetensors"
    assert checkpoint.flatten_order == "chw"
    assert checkpoint.declared == {"format": "pt", "training": {"optimizer": "adam", "lr": 0.1}}
    for name, tensor in tensors().items():
        if tensor.is_floating_point():
            np.testing.assert_array_equal(checkpoint[name].read(), tensor.float().numpy())
    assert checkpoint["fc.weight"].dtype == "bfloat16"
    assert [s.name for s in checkpoint.skipped] == ["steps"]


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580, 0x8B1F, 0x408])
def test_the_length_of_a_header_is_not_taken_for_the_beginning_of_another_format(tmp_path, length):
    # 0x80 0x02 begins a pickle, 0x1f 0x8b a gzip file, 0x08 an ONNX model
    header = json.dumps({"fc.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).ljust(length)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "a.safetensors").write_bytes(length.to_bytes(8, "little") + header.encode() + values.tobytes())
    checkpoint = open_checkpoint(tmp_path / "a.safetensors")
    assert checkpoint.format == "safetensors"
    np.testing.assert_array_equal(checkpoint["fc.weight"].read(), values)


def test_float32_is_a_view_of_the_file(tmp_path):
    save_file({"fc.weight": torch.ones(64, 64)}, tmp_path / "a.safetensors")
    values = open_checkpoint(tmp_path / "a.safetensors")["fc.weight"].read()
    assert not values.flags.owndata
    assert not values.flags.writeable


def test_layers_whose_names_are_only_sorted_come_in_the_order_of_their_numbers(tmp_path):
    save_file({f"{i}.weight": torch.ones(2, 2) for i in (0, 2, 10)}, tmp_path / "a.safetensors")
    assert [t.name for t in open_checkpoint(tmp_path / "a.safetensors").tensors] == [
        "0.weight",
        "2.weight",
        "10.weight",
    ]


def sharded(folder, save, suffix):
    parts = {f"model-1.{suffix}": ["conv.weight", "conv.bias"], f"model-2.{suffix}": ["fc.weight", "fc.bias", "steps"]}
    for name, held in parts.items():
        save({key: tensors()[key] for key in held}, folder / name)
    return {key: name for name, held in parts.items() for key in held}


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_shards_by_their_index_and_as_a_folder(tmp_path, kind):
    weight_map = sharded(tmp_path, save_file if kind == "safetensors" else torch.save, kind)
    index = tmp_path / ("model.safetensors.index.json" if kind == "safetensors" else "pytorch_model.bin.index.json")
    index.write_text(json.dumps({"metadata": {"total_size": 7}, "weight_map": weight_map}))
    (tmp_path / "config.json").write_text('{"model_type": "vit", "hidden_dropout_prob": 0.1}')
    alone, folder = open_checkpoint(index), open_checkpoint(tmp_path)
    assert alone.format == ("safetensors" if kind == "safetensors" else "pytorch")
    assert folder.format == "huggingface"
    assert folder.declared["config"] == {"model_type": "vit", "hidden_dropout_prob": 0.1}
    for checkpoint in (alone, folder):
        assert [t.name for t in checkpoint.tensors] == ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]
        np.testing.assert_array_equal(checkpoint["fc.weight"].read(), tensors()["fc.weight"].float().numpy())


class TrainingArguments:
    def __init__(self):
        self.learning_rate = 2e-5


def test_a_folder_with_one_file_and_its_training_arguments(tmp_path):
    save_file(tensors(), tmp_path / "model.safetensors")
    torch.save(TrainingArguments(), tmp_path / "training_args.bin")
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.declared["training_args"] == {"learning_rate": 2e-5}


def test_a_hub_cache_is_read_through_its_links(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_file(tensors(), blobs / "123")
    os.symlink("../../blobs/123", snapshot / "model.safetensors")
    assert len(open_checkpoint(snapshot).tensors) == 4


@pytest.mark.parametrize("trick", ["absolute", "parent", "link", "missing", "empty"])
def test_an_index_that_leads_out_of_its_folder_is_refused(tmp_path, trick):
    folder, outside = tmp_path / "model", tmp_path / "secret.safetensors"
    folder.mkdir()
    save_file(tensors(), outside)
    os.symlink(outside, folder / "link.safetensors")
    name = {
        "absolute": str(outside),
        "parent": "../secret.safetensors",
        "link": "link.safetensors",
        "missing": "none.safetensors",
        "empty": "",
    }[trick]
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv.weight": name}}))
    for path in (index, folder):
        with pytest.raises(CheckpointError, match="it refers to"):
            open_checkpoint(path)


def test_a_shard_without_a_tensor_that_the_index_names(tmp_path):
    save_file(tensors(), tmp_path / "a.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"other.weight": "a.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"'a.safetensors' lacks the tensor 'other.weight'"):
        open_checkpoint(index)


def test_a_folder_without_a_model_says_what_is_looked_for(tmp_path):
    with pytest.raises(CheckpointError, match="without any of model.safetensors"):
        open_checkpoint(tmp_path)
