"""`tuning status`: how sweeps stand."""

from pathlib import Path
from typing import Any

import pytest

from tests.commands.answers import Answer, json_of
from tuning.claim import claim


def test_status_of_a_home_without_sweeps(answer: Answer, home: Path) -> None:
    assert answer("status") == f"There are no sweeps in {home}.\n"
    assert json_of(answer("status", "--json")) == {"sweeps": []}
    assert not home.exists()


def test_status_has_all_that_a_script_relies_on(answer: Answer, demo: Any) -> None:
    facts = json_of(answer("status", "demo", "--json"))
    assert facts["sweep"] == "demo"
    assert facts["states"] == {"completed": 2, "pruned": 1, "interrupted": 1}
    assert facts["total"] == 9
    assert (facts["best"]["trial"], facts["best"]["value"], facts["best"]["metric"]) == (1, 0.25, "val_loss")
    assert facts["wall_s"] == 12.5
    assert facts["cohort"] == 1
    assert facts["unfinished"] == [3]
    assert json_of(answer("status", "--json")) == {"sweeps": [facts]}


def test_status_tells_how_to_go_on_with_what_was_interrupted(answer: Answer, demo: Any) -> None:
    text = answer("status", "demo")
    assert "2 completed, 1 interrupted, 1 pruned of 9 in 12 s" in text
    assert "val_loss=0.25" in text
    assert "interrupted (tuning resume demo): trial 3" in text


def test_status_tells_what_is_running_now(answer: Answer, demo: Any) -> None:
    with claim(demo.paths.claim, "demo"):
        facts = json_of(answer("status", "demo", "--json"))
        assert "running: trial 3" in answer("status", "demo")
    assert facts["states"] == {"completed": 2, "pruned": 1, "running": 1}
    assert facts["is_running"]


def test_status_writes_nothing(answer: Answer, demo: Any, home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    answer("status", "demo")
    answer("status")
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_status_of_a_sweep_that_died_before_its_first_trial(answer: Answer, demo: Any) -> None:
    demo.paths.journal.unlink()
    facts = json_of(answer("status", "demo", "--json"))
    assert (facts["states"], facts["best"], facts["total"]) == ({}, None, 9)
    assert "no trials of 9" in answer("status", "demo")


def test_what_is_advised_can_be_typed_as_it_stands(
    answer: Answer, demo: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNING_HOME")
    text = answer("status", "demo", "--home", str(home))
    assert f"(tuning resume demo --home {home})" in text, "this home is not the one that is looked into"
