"""Whether the nodes of a cluster are fit for a sweep: asked before anything is written."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuning
from tuning.cli import main
from tuning.errors import RequestError
from tuning.schedule import survey
from tuning.schedule.survey import Found

HERE = Found("far", 4, 1, survey.of_driver(), sees_storage=True, may_write=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"sees_storage": None, "may_write": None}, []),
        (
            {"sees_storage": False, "may_write": None},
            ["far does not see the storage, which must be shared by all nodes."],
        ),
        ({"may_write": False}, ["far sees the storage, but cannot write there; let every node."]),
        ({"error": "it left", "versions": {}}, ["far cannot be asked: it left"]),
        (
            {"versions": {**survey.of_driver(), "torch": "1.0"}},
            [
                "torch must be the same on all nodes: on the driver's it is "
                f"{survey.versions()['torch']}, on far 1.0."
            ],
        ),
        (
            {"versions": {k: v for k, v in survey.of_driver().items() if k != "tuning"}},
            [
                "tuning must be the same on all nodes: on the driver's it is "
                f"{survey.source()}, on far missing."
            ],
        ),
    ],
)
def test_what_is_wrong_with_a_node_is_said_with_both_versions(
    changes: dict[str, Any], said: list[str]
) -> None:
    assert survey.faults([replace(HERE, **changes)]) == said


def test_every_living_node_tells_its_versions_and_sees_what_is_put_into_the_storage(
    ray_cluster: Any, tmp_path: Path
) -> None:
    found = survey.survey(str(tmp_path / "to" / "be"))
    assert len(found) == 3 and all(node.sees_storage and node.may_write for node in found)
    assert survey.faults(found) == []
    assert list(tmp_path.iterdir()) == [], "nothing is left there"
    assert survey.survey(str(tmp_path), {"nobody"}) == []


def test_a_storage_that_cannot_be_written_is_one_message(
    ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cluster", "check", "--address", "auto", "--storage", "/proc/none"]) == 2
    assert capsys.readouterr().err.startswith("error: The storage /proc cannot be written from here: ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"versions": {**survey.of_driver(), "torch": "1.0"}}, "torch must be the same on all nodes"),
        ({"sees_storage": False}, "far does not see the storage"),
    ],
)
def test_a_sweep_on_a_host_that_is_not_fit_is_refused_before_anything_is_written(
    changes: dict[str, Any], said: str, ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def tell(*question: Any) -> list[Found]:
        asked.append(question)
        return [replace(HERE, **changes), replace(HERE, host="leaving", error="it left", versions={})]

    monkeypatch.setattr(survey, "survey", tell)
    monkeypatch.setattr(socket, "gethostname", lambda: "driver")  # so the cluster's are other hosts
    home, host = tmp_path / "home", survey.ray.nodes()[0]["NodeManagerHostname"]
    with pytest.raises(RequestError, match=said) as refused:
        tuning.sweep(tuning.SweepSpec(model="net", trials=1, epochs=1, home=str(home)))
    assert "leaving" not in str(refused.value), "who says nothing may be on its way out"
    assert asked == [(str(home), {host})] and not home.exists()
