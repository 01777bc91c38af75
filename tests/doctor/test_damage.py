"""Each thing that can be wrong with a sweep is said in words, and mended once."""

import re

import pytest

from tests.doctor.damages import CURABLE
from tests.doctor.ward import Patient


def test_a_healthy_sweep_is_left_as_it_is(patient: Patient) -> None:
    before = {path: path.stat().st_mtime_ns for path in patient.home.rglob("*") if path.is_file()}
    found = patient.visit(fix=True)
    assert found.is_healthy and found.fixed == [] and found.trials == 5
    after = {path: path.stat().st_mtime_ns for path in patient.home.rglob("*") if path.is_file()}
    assert {path.name for path in before if before[path] != after[path]} <= {"driver.lock"}
    assert set(before) == set(after)


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("name", CURABLE)
def test_damage_is_said_and_mended_once(name: str, number: int, patient: Patient) -> None:
    damage, words = CURABLE[name]
    values = [(trial.state, trial.values) for trial in patient.sweep().trials]
    damage(patient, number)
    found = patient.visit()
    assert any(re.search(words, str(one)) for one in found.differences), found.differences
    assert all(one.fixable for one in found.differences), "and --fix says so"
    assert patient.visit() == found, "to look changes nothing"

    mended = patient.visit(fix=True)
    assert mended.differences == []
    assert set(mended.fixed) == set(found.differences)
    again = patient.visit(fix=True)
    assert again.is_healthy and again.fixed == []
    patient.assert_it_agrees()
    assert [(trial.state, trial.values) for trial in patient.sweep().trials] == values


def test_to_look_writes_nothing(patient: Patient) -> None:
    patient.file(0).write_bytes(b"torn")
    before = {path: path.stat().st_mtime_ns for path in patient.folder.rglob("*")}
    assert not patient.visit().is_healthy
    assert {path: path.stat().st_mtime_ns for path in patient.folder.rglob("*")} == before


def test_what_cannot_be_mended_of_the_files_keeps_mlflow_from_nothing(patient: Patient) -> None:
    patient.file(0).unlink()
    patient.file(0).mkdir()
    patient.client.set_tag(patient.run(2).info.run_id, "tuning.state", "failed")
    assert any("trial 0: its checkpoint is" in str(one) for one in patient.visit().differences)
    left = patient.visit(fix=True).differences
    assert any("not all could be mended" in one.text for one in left)
    assert not any(one.trial == 2 for one in left)
    assert patient.run(2).data.tags["tuning.state"] != "failed"
