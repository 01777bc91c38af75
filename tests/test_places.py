"""Where a sweep's parts are when the request leaves it open."""

from dataclasses import replace
from pathlib import Path

import pytest

from tuning import notation, paths, places
from tuning.errors import RequestError
from tuning.paths import SweepPaths
from tuning.spec import SweepSpec

SPEC = SweepSpec(model="net", name="net")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that a cluster's nodes set."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("TUNING_STORAGE", "/shared/tuning")
    monkeypatch.setenv("TUNING_TRACKING_URI", "http://127.0.0.1:5000")


@pytest.fixture
def where(tmp_path: Path) -> SweepPaths:
    return SweepPaths(tmp_path, "net")


def begun(where: SweepPaths, spec: SweepSpec) -> None:
    where.folder.mkdir()
    where.spec.write_text(notation.dump(spec))


def test_a_local_ray_is_what_there_is_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else Ray would start it with a dashboard, which takes two seconds and leaves folders behind."""
    assert places.address("local") is None
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert places.address(None) is None
    assert places.address("10.0.0.1:6379") == "10.0.0.1:6379"


@pytest.mark.usefixtures("cluster")
def test_a_new_sweep_takes_what_the_environment_says(where: SweepPaths) -> None:
    found = places.settled(SPEC, where)
    assert found.address == "10.0.0.1:6379"
    assert (found.storage, found.tracking_uri) == ("/shared/tuning", "http://127.0.0.1:5000")


@pytest.mark.usefixtures("cluster")
def test_what_is_asked_for_goes_first(where: SweepPaths) -> None:
    asked = replace(SPEC, address="auto", storage="/mine", tracking_uri="http://mine")
    assert places.settled(asked, where) == asked


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("storage", [None, "/elsewhere"])
def test_a_sweep_that_exists_keeps_its_places(where: SweepPaths, storage: str | None) -> None:
    begun(where, replace(SPEC, storage=storage))
    found = places.settled(SPEC, where)
    assert (found.storage, found.tracking_uri, found.address) == (storage, None, "10.0.0.1:6379")


def test_without_any_of_these_all_is_local(where: SweepPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (places.ADDRESS, paths.STORAGE, places.TRACKING_URI):
        monkeypatch.delenv(name, raising=False)
    assert places.settled(SPEC, where) == SPEC


def test_an_address_from_the_environment_is_checked_as_one_that_is_asked_for(
    where: SweepPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(RequestError, match="ray job submit"):
        places.settled(SPEC, where)
