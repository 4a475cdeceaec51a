"""Zoos written as others read them, and read back."""

import hashlib
import http.server
import io
import json
import threading
import urllib.parse

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import weightprint as wp
from tests.formats.architectures import VGG, LeNet, ResNet18
from weightprint.cli.main import main
from weightprint.errors import ZooError
from weightprint.formats.graphs import graph_of
from weightprint.formats.hub import push
from weightprint.training.networks import Network


@pytest.fixture(scope="module")
def foreign_zoo(tmp_path_factory):
    """One run each of three architectures that weightprint has not made."""
    zoo = tmp_path_factory.mktemp("foreign") / "zoo"
    for make in (LeNet, VGG, ResNet18):
        torch.manual_seed(0)
        with wp.Recorder(zoo, {"architecture": make.__name__}) as recorder:
            recorder.record(make())
            recorder.record(make())
    return zoo


def test_folder_of_state_dicts_that_modules_load(foreign_zoo, tmp_path, capsys):
    assert main(["export", "folder", str(foreign_zoo), str(tmp_path / "out")]) == 0
    assert "3 runs in 6 files" in capsys.readouterr().out
    for run, make in zip(wp.Zoo(foreign_zoo), (LeNet, VGG, ResNet18), strict=True):
        module = make()
        module.load_state_dict(load_file(tmp_path / "out" / f"{run.number:07d}" / "02.safetensors"))
        kernel = next(t for t in run.layout if t.kind == "kernel")
        loaded = module.state_dict()[kernel.source].numpy().ravel()
        assert np.array_equal(loaded, run.snapshot(2)[kernel.offset : kernel.stop])
    listed = pl.read_csv(tmp_path / "out" / "runs.csv")
    assert listed["architecture"].to_list() == ["LeNet", "VGG", "ResNet18"]


def test_state_dicts_of_a_sampled_zoo_make_the_same_module(sampled_zoo, tmp_path):
    assert main(["export", "folder", str(sampled_zoo), str(tmp_path / "out"), "--range", "1-2"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0000001", "0000002", "runs.csv", "snapshots.csv"]
    run = wp.Zoo(sampled_zoo)[1]
    module = Network(run.setup).eval()
    module.load_state_dict(load_file(tmp_path / "out" / "0000001" / "04.safetensors"))
    images = torch.rand(5, 3, 32, 32)
    assert torch.equal(module(images), run.module(4)(images))


def all_positions(graph):
    x = graph.x_position[graph.x_position >= 0]
    return np.sort(np.concatenate([np.unique(graph.edge_position), x, graph.other]))


def test_every_weight_is_an_edge_a_feature_or_other(foreign_zoo, sampled_zoo):
    for run in [*wp.Zoo(foreign_zoo), *wp.Zoo(sampled_zoo)]:
        graph = graph_of(run.layout)
        assert np.array_equal(all_positions(graph), np.arange(run.layout.size)), run
        assert graph.edge_index.max() < len(graph.node_layer)


def forward(graph, weights, image):
    """A plain network, evaluated by its graph alone: what each unit sends is a map, or a number."""
    values = graph.values(weights)
    x, edge = values["x"], values["edge_attr"][:, 0]
    sent = {}
    for layer, name in enumerate(graph.layers):
        nodes = np.flatnonzero(graph.node_layer == layer)
        if name == "input":
            sent |= {node: image[i].ravel() for i, node in enumerate(nodes)}
            continue
        into = np.flatnonzero(graph.edge_layer == layer)
        total = dict.fromkeys(nodes, 0.0)
        for e in into:
            source, node = graph.edge_index[:, e]
            total[node] += edge[e] * sent[source][graph.edge_place[e]]
        sent |= {node: np.array([max(total[node] + x[node, 0], 0.0)]) for node in nodes}
    return np.array([sent[node][0] for node in nodes])


def test_a_graph_computes_what_its_network_computes(tmp_path):
    """Fully connected layers on an image of three channels, and a convolution whose window is the whole image."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    with wp.Recorder(tmp_path / "zoo") as recorder:
        recorder.record(net)
    run = wp.Zoo(tmp_path / "zoo")[0]
    graph = graph_of(run.layout)
    assert graph.layers == ("input", "0", "3", "5")
    assert graph.edge_index.shape == (2, 4 * 27 + 20 + 10)
    image = torch.rand(3, 3, 3)
    expected = net(image[None])[0].relu().detach().numpy()
    assert np.allclose(forward(graph, run.snapshot(1), image.numpy()), expected, atol=1e-6)


def test_the_places_of_a_flattened_map_and_of_groups(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 9, 3)
    )
    with wp.Recorder(tmp_path / "zoo") as recorder:
        recorder.record(net)
    run = wp.Zoo(tmp_path / "zoo")[0]
    graph, weights = graph_of(run.layout), run.snapshot(1)
    first = {name: int(np.flatnonzero(graph.node_layer == i)[0]) for i, name in enumerate(graph.layers)}
    linear = graph.edge_layer == graph.layers.index("4")
    source, target = graph.edge_index[:, linear] - np.array([[first["1"]], [first["4"]]])
    kernel = net[4].weight.detach().numpy().reshape(3, 4, 9)
    assert np.array_equal(weights[graph.edge_position[linear]], kernel[target, source, graph.edge_place[linear]])
    grouped = graph.edge_layer == graph.layers.index("1")
    source, target = graph.edge_index[:, grouped] - np.array([[first["0"]], [first["1"]]])
    assert np.array_equal(source // 2, target // 2)
    assert np.array_equal(
        weights[graph.edge_position[grouped]],
        net[1].weight.detach().numpy().reshape(4, 2, 9)[target, source % 2, graph.edge_place[grouped]],
    )
    x = graph.values(weights)["x"]
    assert x[first["1"] : first["1"] + 4, 2].tolist() == net[2].weight.tolist()
    assert x[first["4"], 1:].tolist() == [0, 1, 0, 1]  # no batch norm there


def test_exported_graphs(sampled_zoo, tmp_path, capsys):
    out = tmp_path / "graphs"
    assert main(["export", "graph", str(sampled_zoo), str(out), "--range", "0-0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 1
    run = wp.Zoo(sampled_zoo)[0]
    with np.load(out / "0000000.npz", allow_pickle=False) as arrays:
        assert arrays["x"].shape == (4, len(arrays["node_layer"]), 5)
        assert arrays["edge_attr"].shape == (4, arrays["edge_index"].shape[1], 1)
        assert np.array_equal(arrays["edge_attr"][..., 0], run.weights[:, arrays["edge_position"]])
    assert pl.read_parquet(out / "runs.parquet")["optimizer"].to_list() == [run.properties["optimizer"]]


def test_an_export_into_a_folder_of_other_things_is_refused(sampled_zoo, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    for kind in ("folder", "graph", "hub"):
        assert main(["export", kind, str(sampled_zoo), str(tmp_path)]) == 1
    assert main(["export", "hub", str(sampled_zoo), str(tmp_path / "out"), "--range", "90-99"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_dataset_folder_is_a_zoo_with_a_card(sampled_zoo, tmp_path):
    out = tmp_path / "dataset"
    for license in ([], ["--license", "cc-by-4.0"]):  # again over what is there
        assert main(["export", "hub", str(sampled_zoo), str(out), "--range", "1-3", *license]) == 0
    copy = wp.Zoo(out)
    assert copy.numbers == [1, 2, 3]
    assert copy.verify() == []
    assert copy[2].path.read_bytes() == wp.Zoo(sampled_zoo)[2].path.read_bytes()
    index = pl.read_parquet(out / "runs.parquet")
    assert all((out / file).exists() for file in index["file"])
    hub = pytest.importorskip("huggingface_hub")
    card = hub.DatasetCard.load(out / "README.md")
    assert f"{max(run.layout.size for run in copy):,} weights each" in card.text
    assert "Where `split_value` in `runs.parquet` is below\n0.25, weightprint tests" in card.text
    assert card.data.license == "cc-by-4.0"
    assert card.data.configs == [{"config_name": "runs", "data_files": "runs.parquet"}]
    assert "| `optimizer` |" in card.text
    assert "max_epochs 3, " in card.text


def test_a_property_cannot_write_into_the_card(tmp_path):
    with wp.Recorder(tmp_path / "zoo", {"note": "x |\n---\n<script>"}) as recorder:
        recorder.record(nn.Linear(1, 1))
    assert main(["export", "hub", str(tmp_path / "zoo"), str(tmp_path / "out")]) == 0
    assert "<script>" not in (tmp_path / "out" / "README.md").read_text()


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as a dataset of plain files needs."""

    files: dict = {}  # noqa: RUF012
    protocol_version = "HTTP/1.1"
    commit = "0" * 39 + "1"

    def log_message(self, *_):
        pass

    def answer(self, body, code=200, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path.startswith("/api/datasets/me/zoo/tree/"):
            entries = [{"type": "file", "path": n, "size": len(d), "oid": "0"} for n, d in self.files.items()]
            return self.answer(entries)
        if path.startswith("/api/datasets/me/zoo"):
            siblings = [{"rfilename": name} for name in self.files]
            return self.answer({"id": "me/zoo", "sha": self.commit, "siblings": siblings, "private": False})
        name = path.partition(f"/resolve/{self.commit}/")[2] or path.partition("/resolve/main/")[2]
        if path.startswith("/datasets/me/zoo/") and name in self.files:
            data = self.files[name]
            etag = f'"{hashlib.sha1(data).hexdigest()}"'
            return self.answer(data, ETag=etag, X_Repo_Commit=self.commit)
        return self.answer({"error": "not found"}, 404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            return self.answer({"url": f"http://{self.headers['Host']}/datasets/me/zoo"})
        if self.path.startswith("/api/datasets/me/zoo/preupload/"):
            asked = json.loads(body)["files"]
            return self.answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
            )
        if self.path.startswith("/api/datasets/me/zoo/commit/"):
            import base64

            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            url = f"http://{self.headers['Host']}/datasets/me/zoo/commit/{self.commit}"
            return self.answer({"success": True, "commitOid": self.commit, "commitUrl": url, "hookOutput": ""})
        return self.answer({"error": f"unknown {self.path}"}, 404)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    Hub.files = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore")
def test_what_is_pushed_is_pulled(sampled_zoo, tmp_path, hub, capsys):
    out, back = tmp_path / "dataset", tmp_path / "back"
    assert main(["export", "hub", str(sampled_zoo), str(out), "--range", "0-1"]) == 0
    wp.Zoo(out)  # writes an index of its own, which is not pushed
    assert main(["push", str(out), "me/zoo", "--endpoint", hub]) == 0, capsys.readouterr()
    assert sorted(Hub.files) == sorted(
        ["README.md", "runs.parquet", "zoo.json", *(f"runs/0000/000000{i}.safetensors" for i in (0, 1))]
    )
    assert main(["pull", "me/zoo", str(back), "--endpoint", hub]) == 0, capsys.readouterr()
    assert [run.path.read_bytes() for run in wp.Zoo(back)] == [run.path.read_bytes() for run in wp.Zoo(out)]
    Hub.files["runs/0000/0000001.safetensors"] = Hub.files["runs/0000/0000001.safetensors"][:-1] + b"x"
    assert main(["pull", "me/zoo", str(tmp_path / "damaged"), "--endpoint", hub]) == 1
    assert "1 of 2 runs are not as written" in capsys.readouterr().err
    assert main(["pull", "me/nothing", str(tmp_path / "none"), "--endpoint", hub]) == 1
    assert "did not take or give me/nothing" in capsys.readouterr().err


def test_what_is_no_dataset_folder_is_not_pushed(tmp_path):
    with pytest.raises(ZooError, match="is no dataset folder"):
        push(tmp_path, "me/zoo")


def test_whole_vectors_as_a_torch_dataset(sampled_zoo):
    zoo = wp.Zoo(sampled_zoo)
    first = zoo[zoo.numbers[0]]
    dataset = wp.WeightsDataset(zoo.select(weights=first.layout.size), target="optimizer", snapshots=(3, 4))
    item = dataset[1]
    assert (item["run"], item["snapshot"]) == (first.number, 4)
    assert np.array_equal(item["weights"].numpy(), first.snapshot(4))
    assert dataset.classes[item["target"]] == first.properties["optimizer"]
    assert dataset[-1]["snapshot"] == 4
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@pytest.mark.filterwarnings("ignore")
def test_slices_are_the_same_with_any_number_of_workers_and_differ_by_epoch_and_seed(sampled_zoo):
    def slices(workers=0, seed=0, epoch=0):
        dataset = wp.WeightsDataset(wp.Zoo(sampled_zoo), slice_length=200, part="conv", seed=seed)
        dataset.set_epoch(epoch)
        loader = torch.utils.data.DataLoader(dataset, batch_size=5, num_workers=workers)
        return torch.cat([batch["weights"] for batch in loader])

    alone = slices()
    assert alone.shape == (24, 200)
    assert torch.equal(alone, slices(workers=2))
    assert not torch.equal(alone, slices(epoch=1))
    assert not torch.equal(alone, slices(seed=1))


def test_a_slice_never_leaves_its_part_and_short_runs_are_counted(sampled_zoo):
    zoo = wp.Zoo(sampled_zoo)
    lengths = {run.number: run.layout.length("conv") for run in zoo}
    dataset = wp.WeightsDataset(zoo, slice_length=min(lengths.values()), part="conv")
    for item in dataset:
        assert item["start"] + len(item["weights"]) <= lengths[item["run"]]
    assert wp.WeightsDataset(zoo, slice_length=10**6).left_out == len(zoo)
    with pytest.raises(ZooError, match="no property 'colour'"):
        wp.WeightsDataset(zoo, target="colour")


def test_the_index_as_pandas_and_arrow(sampled_zoo):
    index = wp.Zoo(sampled_zoo).index
    pytest.importorskip("pyarrow")
    assert index.to_arrow().column("optimizer").to_pylist() == index["optimizer"].to_list()
    pytest.importorskip("pandas")
    assert index.to_pandas()["number"].tolist() == index["number"].to_list()
    buffer = io.BytesIO()
    index.write_parquet(buffer)
    assert pl.read_parquet(buffer.getvalue()).equals(index)
