"""torchvision's sets with and without their files, over a real HTTP server on the loopback address.

Nothing of torchvision is replaced but its addresses and checksums: the archives here are a few
hundred real digits in the official format, since the real ones cannot be had without a network.
"""

import gzip
import hashlib
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets

from tuning.data import load
from tuning.errors import RequestError

NUM_TRAIN, NUM_TEST = 200, 50


def idx(array: np.ndarray) -> bytes:
    """Return the array in MNIST's own format: magic number, sizes, bytes."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return header + array.tobytes()


@pytest.fixture(scope="session")
def files(digits_folder: Path) -> dict[str, bytes]:
    with np.load(digits_folder / "mnist5k.npz") as file:
        rows = np.random.default_rng(0).permutation(5000)[: NUM_TRAIN + NUM_TEST]
        images, labels = file["images"][rows], file["labels"][rows]
    return {
        "train-images-idx3-ubyte": idx(images[:NUM_TRAIN]),
        "train-labels-idx1-ubyte": idx(labels[:NUM_TRAIN]),
        "t10k-images-idx3-ubyte": idx(images[NUM_TRAIN:]),
        "t10k-labels-idx1-ubyte": idx(labels[NUM_TRAIN:]),
    }


def write_all(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        self.server.requests.append(args)  # type: ignore[attr-defined]


@pytest.fixture
def archives(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files zipped, with torchvision expecting their checksums."""
    zipped = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in zipped.items()]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    return zipped


@pytest.fixture
def server(
    tmp_path: Path, archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Iterator[ThreadingHTTPServer]:
    write_all(tmp_path / "served", archives)
    handler = partial(QuietHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [address])
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point torchvision at a port where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    for family in ("MNIST", "FashionMNIST", "KMNIST"):
        monkeypatch.setattr(getattr(torchvision.datasets, family), "mirrors", [address])
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"{address}cifar-10-python.tar.gz")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mnist", "MNIST/raw/*.gz"),
        ("fashion_mnist", "FashionMNIST/raw/*.gz"),
        ("kmnist", "KMNIST/raw/*.gz"),
        ("cifar10", "cifar-10-python.tar.gz"),
    ],
)
def test_without_network_one_message_names_folder_and_way_out(
    name: str, place: str, tmp_path: Path, no_network: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RequestError) as caught:
        load(name, seed=0, folder=tmp_path)
    message = str(caught.value)
    assert str(tmp_path / place) in message and "mnist5k" in message
    assert "refused" in message, "the cause"
    assert "\n" not in message
    assert caught.value.__suppress_context__, "no second traceback"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", [RuntimeError("File not found or corrupted."), TimeoutError()])
def test_whatever_torchvision_raises_becomes_the_same_message(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fake, because a hash that has changed upstream or a silent firewall cannot be had at will.
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fail)
    with pytest.raises(RequestError, match=f"CIFAR10.*{type(error).__name__}.*mnist5k"):
        load("cifar10", seed=0, folder=tmp_path)


@pytest.mark.parametrize("family", ["MNIST", "FashionMNIST", "KMNIST"])
def test_unpacked_files_put_there_by_hand_load_offline(
    family: str, tmp_path: Path, files: dict[str, bytes], no_network: None
) -> None:
    # torchvision takes unpacked files of the MNIST family as they are (CIFAR-10's have checksums,
    # so no small stand-in of that can be tested).
    names = {"MNIST": "mnist", "FashionMNIST": "fashion_mnist", "KMNIST": "kmnist"}
    write_all(tmp_path / family / "raw", files)
    splits: Any = load(names[family], seed=0, folder=tmp_path)
    assert [len(d) for d in (splits.train, splits.validation, splits.test)] == [180, 20, NUM_TEST]
    official = np.frombuffer(files["t10k-labels-idx1-ubyte"][8:], np.uint8)
    assert splits.test.tensors[1].tolist() == official.tolist(), "the official test set as it is"
    assert splits.input_shape == (1, 28, 28) and splits.num_outputs == 10


def test_archives_put_there_by_hand_load_offline(
    tmp_path: Path, archives: dict[str, bytes], no_network: None
) -> None:
    write_all(tmp_path / "MNIST" / "raw", archives)
    splits: Any = load("mnist", seed=0, folder=tmp_path)
    assert len(splits.test) == NUM_TEST


def test_download_happens_once_and_silently(
    tmp_path: Path, server: ThreadingHTTPServer, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    first = load("mnist", seed=0, folder=folder)
    num_requests = len(server.requests)  # type: ignore[attr-defined]
    assert num_requests >= 4
    assert load("mnist", seed=0, folder=folder).fingerprint == first.fingerprint
    assert len(server.requests) == num_requests  # type: ignore[attr-defined]
    assert capfd.readouterr() == ("", "")
    assert not (folder / ".MNIST.part").exists()
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_half_a_download_does_not_poison_the_next_try(
    name: str, tmp_path: Path, archives: dict[str, bytes], server: ThreadingHTTPServer
) -> None:
    folder, served = tmp_path / "data", tmp_path / "served" / name
    served.write_bytes(archives[name][: len(archives[name]) // 2])
    with pytest.raises(RequestError, match="corrupted"):
        load("mnist", seed=0, folder=folder)
    served.write_bytes(archives[name])
    splits: Any = load("mnist", seed=0, folder=folder)
    assert len(splits.test) == NUM_TEST


@pytest.mark.parametrize("place", ["MNIST/raw", ".MNIST.part/MNIST/raw"])
def test_half_unpacked_file_is_replaced(
    place: str, tmp_path: Path, files: dict[str, bytes], server: ThreadingHTTPServer
) -> None:
    # What a kill in the middle of unpacking leaves; torchvision alone would take it for whole.
    torn = files | {"train-images-idx3-ubyte": files["train-images-idx3-ubyte"][:5000]}
    write_all(tmp_path / "data" / place, torn)
    splits: Any = load("mnist", seed=0, folder=tmp_path / "data")
    assert len(splits.train) + len(splits.validation) == NUM_TRAIN


def test_files_put_there_by_hand_survive_a_failed_download(
    tmp_path: Path, files: dict[str, bytes], no_network: None
) -> None:
    incomplete = {name: content for name, content in files.items() if "t10k" not in name}
    write_all(tmp_path / "MNIST" / "raw", incomplete)
    with pytest.raises(RequestError):
        load("mnist", seed=0, folder=tmp_path)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "MNIST" / "raw").iterdir()}
    assert kept == incomplete


def test_workers_that_start_together_share_one_download(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    expected = load("mnist", seed=0, folder=tmp_path / "alone").fingerprint
    num_alone = len(server.requests)  # type: ignore[attr-defined]
    found: list[str] = []

    def work() -> None:
        found.append(load("mnist", seed=0, folder=tmp_path / "data").fingerprint)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    assert len(server.requests) == 2 * num_alone  # type: ignore[attr-defined]


def test_colour_images_get_statistics_per_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A fake CIFAR-10: its loader checks the hashes of files that cannot be had without a network.
    rng = np.random.default_rng(0)

    class Photos:
        def __init__(self, *args: object, train: bool, download: bool) -> None:
            size = 100 if train else 20
            bright = np.array([0, 50, 100], np.uint8)
            self.data = rng.integers(0, 150, (size, 32, 32, 3), np.uint8) + bright
            self.targets = [row % 10 for row in range(size)]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Photos)
    splits: Any = load("cifar10", seed=0, folder=tmp_path)
    inputs, labels = splits.train.tensors
    assert inputs.shape == (90, 3, 32, 32)
    assert labels.bincount().tolist() == [9] * 10
    torch.testing.assert_close(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    mean = splits.preprocess["mean"]
    assert mean[1] - mean[0] == pytest.approx(50 / 255, abs=0.01)
    assert splits.augment is not None and splits.augment(inputs[:4], 0).shape == (4, 3, 32, 32)
