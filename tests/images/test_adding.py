"""Data sets fetched from a server of this machine, and added from files."""

import gzip
import hashlib
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest
import scipy.io
from PIL import Image

from weightprint import Space
from weightprint.cli.main import main
from weightprint.errors import DataError
from weightprint.images import load
from weightprint.images.adding import add, fetch
from weightprint.images.homes import HOMES, Home, RemoteFile
from weightprint.sampling.sample import plan

RNG = np.random.default_rng(0)
LABELS = np.arange(40, dtype=np.uint8) % 10
ONE_BATCH = Space("one batch", {"dataset": "mnist", "batch_size": 30})


def idx(array):
    sizes = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return gzip.compress(b"\0\0\x08" + bytes([array.ndim]) + sizes + array.tobytes(), mtime=0)


def tarred(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files`; a name in `breaks` is cut off after so many bytes each time; `broken` names answer 503."""

    files: dict = {}  # noqa: RUF012
    breaks: dict = {}  # noqa: RUF012
    broken: set = set()  # noqa: RUF012
    ranges = True
    requests: list = []  # noqa: RUF012

    def log_message(self, *_):
        pass

    def do_GET(self):
        name = self.path.lstrip("/")
        asked = self.headers.get("Range")
        self.requests.append((name, asked))
        if name in self.broken:
            return self.send_error(503)
        if name not in self.files:
            return self.send_error(404)
        data = self.files[name]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if start >= len(data):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][: self.breaks.get(name)])
        return None


@pytest.fixture
def server():
    Server.files, Server.breaks, Server.broken, Server.ranges, Server.requests = {}, {}, set(), True, []
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/"
    running.shutdown()
    running.server_close()


def home(monkeypatch, name, files, *servers):
    """The data set `name` at home on these servers, with the real reader."""
    Server.files |= files
    remote = tuple(
        RemoteFile(n, hashlib.md5(data).hexdigest(), tuple(url + n for url in servers)) for n, data in files.items()
    )
    monkeypatch.setitem(HOMES, name, Home("images of a test", remote, HOMES[name].read))


@pytest.fixture
def mnist():
    images = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8)
    return images, {
        "train-images-idx3-ubyte.gz": idx(images),
        "train-labels-idx1-ubyte.gz": idx(LABELS),
        "t10k-images-idx3-ubyte.gz": idx(images[:10]),
        "t10k-labels-idx1-ubyte.gz": idx(LABELS[:10]),
    }


def test_a_fetched_set_is_found_by_sample(tmp_path, server, mnist, monkeypatch, capsys):
    home(monkeypatch, "mnist", mnist[1], server)
    monkeypatch.setenv("WEIGHTPRINT_DATA", str(tmp_path / "home"))
    assert main(["sample", str(tmp_path / "zoo"), "--space", "fixed", "--runs", "1", "--datasets", "mnist"]) == 1
    assert "weightprint data fetch mnist" in capsys.readouterr().err
    assert main(["data", "fetch", "mnist"]) == 0
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["mnist.npz"]
    images = plan(tmp_path / "zoo", ONE_BATCH, 1, train_size=40).images["mnist"]
    assert images.x_train.shape == (30, 32, 32, 3)
    assert main(["data", "list"]) == 0
    assert "images of 28 x 28" in capsys.readouterr().out
    seen = len(Server.requests)
    fetch("mnist")
    assert len(Server.requests) == seen
    with np.load(tmp_path / "home" / "mnist.npz") as held:
        assert np.array_equal(held["x_train"], mnist[0])
        assert np.array_equal(held["y_train"], LABELS)
    with pytest.raises(DataError, match="no data set mnist in"):  # a folder that is given is the only one
        load("mnist", tmp_path)


def test_a_download_that_breaks_off_goes_on_in_the_middle(tmp_path, server, mnist, monkeypatch):
    home(monkeypatch, "mnist", mnist[1], server)
    name = "train-images-idx3-ubyte.gz"
    Server.breaks = {name: 10_000}
    path = fetch("mnist", tmp_path)
    asked = [range_ for n, range_ in Server.requests if n == name]
    assert asked == [None, "bytes=10000-", "bytes=20000-", "bytes=30000-"]
    assert len(load("mnist", tmp_path).x_train) == 40
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_fetch_is_continued_by_the_next(tmp_path, server, mnist, monkeypatch):
    home(monkeypatch, "mnist", mnist[1], server)

    def interrupt(name, done, total):
        if name.startswith("t10k-images") and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("mnist", tmp_path, progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == [".fetch-mnist"]
    Server.requests.clear()
    fetch("mnist", tmp_path)
    assert [name for name, _ in Server.requests] == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    assert [path.name for path in tmp_path.iterdir()] == ["mnist.npz"]


def test_a_server_that_cannot_go_on_starts_again(tmp_path, server, mnist, monkeypatch):
    home(monkeypatch, "mnist", mnist[1], server)
    Server.ranges = False
    (tmp_path / ".fetch-mnist").mkdir()
    (tmp_path / ".fetch-mnist" / "train-images-idx3-ubyte.gz.part").write_bytes(b"the beginning of something else")
    fetch("mnist", tmp_path)
    assert np.array_equal(load("mnist", tmp_path).y_train, LABELS)


def test_a_part_of_another_file_is_thrown_away(tmp_path, server, mnist, monkeypatch):
    home(monkeypatch, "mnist", mnist[1], server)
    (tmp_path / ".fetch-mnist").mkdir()
    for name, count in (("train-images-idx3-ubyte.gz", 100), ("train-labels-idx1-ubyte.gz", 10**5)):
        (tmp_path / ".fetch-mnist" / f"{name}.part").write_bytes(b"x" * count)
    fetch("mnist", tmp_path)
    assert np.array_equal(load("mnist", tmp_path).y_train, LABELS)


def test_a_wrong_checksum_leaves_nothing_behind(tmp_path, server, mnist, monkeypatch):
    home(monkeypatch, "mnist", mnist[1], server)
    name = "train-images-idx3-ubyte.gz"
    Server.files[name] = b"error page" + Server.files[name][10:]
    with pytest.raises(DataError, match=rf"{name} could not be fetched: .*its MD5 is not [0-9a-f]{{32}}"):
        fetch("mnist", tmp_path)
    assert list((tmp_path / ".fetch-mnist").iterdir()) == []
    assert not (tmp_path / "mnist.npz").exists()


def test_a_server_in_trouble_is_left_for_the_next(tmp_path, server, mnist, monkeypatch):
    name = "t10k-labels-idx1-ubyte.gz"
    home(monkeypatch, "mnist", mnist[1], server + "absent/", server)
    fetch("mnist", tmp_path / "one")
    home(monkeypatch, "mnist", mnist[1], server)
    Server.broken = {name}
    with pytest.raises(DataError, match=f"{name} could not be fetched: .*the server answers 503"):
        fetch("mnist", tmp_path / "two")
    Server.broken = set()
    fetch("mnist", tmp_path / "two")
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        fetch("mnits", tmp_path)


def test_cifar10_in_binary(tmp_path, server, monkeypatch):
    images = RNG.integers(0, 256, (240, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(240, dtype=np.uint8) % 10
    records = [bytes([y]) + x.transpose(2, 0, 1).tobytes() for x, y in zip(images, labels, strict=True)]
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    files = {f"cifar-10-batches-bin/{n}": b"".join(records[40 * i : 40 * i + 40]) for i, n in enumerate(names)}
    home(monkeypatch, "cifar10", {"cifar-10-binary.tar.gz": tarred(files)}, server)
    found = load("cifar10", fetch("cifar10", tmp_path).parent)
    assert np.array_equal(found.x_train, images[:200])
    assert np.array_equal(found.y_test, labels[200:])


def test_svhn_whose_ten_is_zero(tmp_path, server, monkeypatch):
    images = RNG.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    files = {}
    for part in ("train", "test"):
        buffer = io.BytesIO()
        labels = np.where(LABELS == 0, 10, LABELS)[:, None]
        scipy.io.savemat(buffer, {"X": images.transpose(1, 2, 3, 0), "y": labels})
        files[f"{part}_32x32.mat"] = buffer.getvalue()
    home(monkeypatch, "svhn", files, server)
    found = load("svhn", fetch("svhn", tmp_path).parent)
    assert np.array_equal(found.x_test, images)
    assert np.array_equal(found.y_train, LABELS)


def test_stl10_is_stored_column_by_column(tmp_path, server, monkeypatch):
    images = RNG.integers(0, 256, (10, 96, 96, 3), dtype=np.uint8)
    data = images.transpose(0, 3, 2, 1).tobytes()
    files = {f"stl10_binary/{part}_X.bin": data for part in ("train", "test")}
    files |= {f"stl10_binary/{part}_y.bin": bytes(range(1, 11)) for part in ("train", "test")}
    files["stl10_binary/unlabeled_X.bin"] = b"not read"
    home(monkeypatch, "stl10", {"stl10_binary.tar.gz": tarred(files)}, server)
    with np.load(fetch("stl10", tmp_path)) as held:
        assert np.array_equal(held["x_train"], images)
        assert held["y_train"].tolist() == list(range(10))


def test_published_checksums_are_whole():
    for source in HOMES.values():
        for file in source.files:
            assert len(bytes.fromhex(file.md5)) == 16
            assert all(url.endswith(file.name) for url in file.urls)


def picture(path, size, mode="RGB", color=(200, 10, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


def test_folders_of_images_of_any_size(tmp_path, capsys):
    for label in range(10):
        for i in range(10):
            picture(tmp_path / "photos" / f"class{label}" / f"{i}.png", (40 + i, 50), color=(20 * label, 100, 0))
    picture(tmp_path / "photos" / "class0" / "a.png", (9, 9), "RGBA", (255, 255, 255, 0))
    assert main(["data", "add", "mine", str(tmp_path / "photos"), "--data", str(tmp_path / "images")]) == 0
    out = capsys.readouterr().out
    assert "every 5th image of a class is a test image" in out
    assert "resized to 32 x 32, in colour" in out
    found = load("mine", tmp_path / "images")
    assert (len(found.x_train), len(found.x_test)) == (81, 20)
    assert np.abs(found.x_test[found.y_test == 3].astype(int) - [60, 100, 0]).max() <= 1
    assert (found.x_train[found.y_train == 0].reshape(-1, 32 * 32 * 3) == 0).all(axis=1).sum() == 1  # on black
    assert main(["data", "add", "mine", str(tmp_path / "photos"), "--data", str(tmp_path / "images")]) == 1
    again = ["data", "add", "mine", str(tmp_path / "photos"), "--data", str(tmp_path / "images"), "--replace"]
    assert main(again) == 0


def test_grey_images_of_one_size_stay_as_they_are(tmp_path):
    for part, count in (("train", 3), ("test", 1)):
        for label in range(10):
            for i in range(count):
                picture(tmp_path / "in" / part / str(label) / f"{i}.png", (28, 28), "L", 25 * label)
    path, notes = add("mine", tmp_path / "in", tmp_path)
    assert "images kept as they are, 28 x 28" in notes
    with np.load(path) as held:
        assert held["x_train"].shape == (30, 28, 28)
        assert held["x_test"][7].tolist() == np.full((28, 28), 175).tolist()


def test_an_npz_file_is_added(tmp_path):
    arrays = {"x_train": np.zeros((40, 20, 20), np.uint8), "y_train": LABELS}
    np.savez(tmp_path / "given.npz", **arrays, x_test=arrays["x_train"], y_test=LABELS, extra=[1])
    path, _ = add("mine", tmp_path / "given.npz", tmp_path / "images")
    with np.load(path) as held:
        assert sorted(held.files) == ["x_test", "x_train", "y_test", "y_train"]


def test_what_cannot_be_added_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has 0 folders of classes, expected 10"):
        add("mine", tmp_path / "empty", tmp_path / "images")
    for label in range(10):
        picture(tmp_path / "in" / str(label) / "0.png", (8, 8))
    (tmp_path / "in" / "4" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"1\.png cannot be read as an image"):
        add("mine", tmp_path / "in", tmp_path / "images")
    (tmp_path / "in" / "4" / "1.png").unlink()
    with pytest.raises(DataError, match="expected at least one image"):
        add("mine", tmp_path / "in", tmp_path / "images")
    for name in ("digits", "../mine", ""):
        with pytest.raises(DataError, match="no data set can be named"):
            add(name, tmp_path / "in", tmp_path / "images")
    assert not list((tmp_path / "images").glob("*"))
