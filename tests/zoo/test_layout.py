import itertools

import pytest

from weightprint import Layout, Setup
from weightprint.errors import ZooError
from weightprint.setups import SPACES
from weightprint.training.architecture import layers_per_block
from weightprint.zoo.layout import Flatten, Tensor

ARCHITECTURE = ("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc")


def architectures():
    for values in itertools.product(*(SPACES["main"].choices(field) for field in ARCHITECTURE)):
        yield Setup(**dict(zip(ARCHITECTURE, values, strict=True)))


def test_the_fixed_network_has_as_many_weights_as_the_papers():
    layout = Layout.of(SPACES["fixed"].draw(0, 0))
    assert layout.size == 92_868
    assert layout.length("conv") == 16_880


def test_conv_and_fc_make_up_the_vector_of_every_architecture_of_main():
    layouts = [Layout.of(setup) for setup in architectures()]
    assert len(layouts) == 243
    assert all(layout.length("conv") + layout.length("fc") == layout.size for layout in layouts)
    conv = [layout.length("conv") for layout in layouts]
    assert min(conv) == 1_688
    assert sum(length < 5_000 for length in conv) == 36


@pytest.mark.parametrize(("depth", "dealt"), [(3, (1, 1, 1)), (4, (1, 1, 2)), (5, (1, 2, 2)), (7, (2, 2, 3))])
def test_conv_layers_are_dealt_evenly_extra_ones_to_the_last_blocks(depth, dealt):
    assert layers_per_block(depth) == dealt


def test_a_layer_is_kernel_bias_beta_gamma_mean_variance_in_this_order():
    names = [tensor.name for tensor in Layout.of(Setup())]
    assert names[:6] == [f"conv1/{k}" for k in ("kernel", "bias", "beta", "gamma", "moving_mean", "moving_variance")]
    assert names[-2:] == ["output/kernel", "output/bias"]
    plain = [tensor.name for tensor in Layout.of(Setup(batch_norm=False))]
    assert plain[:4] == ["conv1/kernel", "conv1/bias", "conv2/kernel", "conv2/bias"]


def test_tensors_follow_each_other_without_gaps_and_can_be_named():
    layout = Layout.of(Setup())
    assert layout["fc1/kernel"].shape == (128, 512)
    assert layout["fc1/kernel"].offset == layout["conv3/moving_variance"].stop
    with pytest.raises(ZooError, match="did you mean 'fc1/kernel'"):
        layout["fc1/kernl"]


def test_a_layout_round_trips_through_json():
    layout = Layout.of(Setup(depth_conv=5, batch_norm=False))
    assert Layout.from_json(layout.to_json()) == layout


def test_segments_join_neighbours_of_one_part_and_never_bridge_another():
    kinds = [("a", "conv", 4), ("b", "conv", 2), ("c", "fc", 3), ("d", "conv", 5), ("e", "other", 0)]
    offset, tensors = 0, []
    for name, part, size in kinds:
        tensors.append(Tensor(name, "kernel", part, (size,), offset, name, "o"))
        offset += size
    layout = Layout(tensors)
    assert layout.segments("conv") == ((0, 6), (9, 14))
    assert layout.segments("fc") == ((6, 9),)
    assert layout.segments("other") == ()
    assert layout.segments("all") == ((0, 14),)
    with pytest.raises(ZooError, match="unknown part"):
        layout.segments("cnv")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"offset": 1}, "starts at 1, expected 0"),
        ({"kind": "weights"}, "kind 'weights'"),
        ({"part": "convolution"}, "part 'convolution'"),
        ({"shape": [-1]}, "impossible shape"),
        ({"colour": "red"}, "unknown form"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(change, says):
    entry = Layout.of(Setup()).to_json()[0]
    with pytest.raises(ZooError, match=says):
        Layout.from_json([{**entry, **change}])


FOREIGN = [
    {"name": "stem/kernel", "kind": "kernel", "part": "conv", "shape": [6, 1, 3, 3], "offset": 0, "source": "s",
     "axes": "oihw", "tied_to": None, "groups": 3, "reads": []},
    {"name": "head/kernel", "kind": "kernel", "part": "fc", "shape": [2, 24], "offset": 54, "source": "h",
     "axes": "oi", "tied_to": None, "flatten": {"order": "hwc", "size": [6, 2, 2]}, "reads": ["stem"]},
    {"name": "words", "kind": "other", "part": "other", "shape": [5, 4], "offset": 102, "source": "words.weight",
     "axes": "io", "tied_to": None, "role": "embedding"},
]  # fmt: skip


def test_optional_fields_round_trip_and_are_left_out_where_they_are_not_set():
    layout = Layout.from_json(FOREIGN)
    assert layout["head/kernel"].flatten == Flatten("hwc", (6, 2, 2))
    assert layout["stem/kernel"].reads == () != layout["words"].reads
    assert layout.to_json() == FOREIGN
    assert hash(Layout.from_json(layout.to_json())) == hash(layout)
    fields = {"name", "kind", "part", "shape", "offset", "source", "axes", "tied_to"}
    assert all(set(entry) == fields for entry in Layout.of(Setup()).to_json())


@pytest.mark.parametrize(
    ("place", "change", "says"),
    [
        (0, {"groups": 4}, "4 groups for shape"),
        (1, {"flatten": {"order": "whc", "size": [6, 2, 2]}}, "flatten order 'whc'"),
        (1, {"flatten": {"order": "chw", "size": [6, 2, 3]}}, r"shape \[2, 24\] behind a map of size \[6, 2, 3\]"),
        (1, {"flatten": {"order": "chw", "size": [24]}}, "unknown form"),
        (2, {"role": "speech"}, "role 'speech'"),
    ],
)
def test_optional_fields_that_cannot_be_are_refused(place, change, says):
    entries = [dict(entry) for entry in FOREIGN]
    entries[place].update(change)
    with pytest.raises(ZooError, match=says):
        Layout.from_json(entries)
