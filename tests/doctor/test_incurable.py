"""What cannot be repaired without inventing is said, with the way out, and left as it is."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import tuning
from tests.doctor.ward import NAME, Patient
from tuning import notation, storage
from tuning.cli import main


def _without_copies(patient: Patient) -> None:
    for file in (patient.copy(0), patient.file(0)):
        file.write_bytes(b"torn")


def _own_run(patient: Patient) -> None:
    run = patient.run(0)
    tags = {**run.data.tags, "tuning.trial": "17", "mlflow.runName": "trial-00017"}
    patient.client.create_run(run.info.experiment_id, tags=tags)


def _journal(patient: Patient) -> bytes | None:
    file = patient.folder / "study.journal"
    return file.read_bytes() if file.exists() else None


def _garbled(patient: Patient) -> None:
    lines = (patient.folder / "study.journal").read_text().splitlines()
    (patient.folder / "study.journal").write_text("\n".join([lines[0], "{garbled", *lines[1:]]) + "\n")


INCURABLE: dict[str, tuple[Callable[[Patient], object], str]] = {
    "no good copy": (
        _without_copies,
        "trial 0: its checkpoint is torn, and no good copy is at hand; put a backup of checkpoints/trial",
    ),
    "checkpoint of no trial": (
        lambda p: shutil.copy(p.file(0), p.file(17)),
        "checkpoints/trial-00017.pt is of no trial of the study; move it away",
    ),
    "run of no trial": (_own_run, "trial 17: MLflow has its run, but the study no such trial; put"),
    "garbled journal": (_garbled, r"The study .*study.journal cannot be read"),
    "empty journal": (
        lambda p: (p.folder / "study.journal").write_text(""),
        r"The study .*study.journal is empty.* It has 4 checkpoints, so this is not how it was: put",
    ),
    "no journal": (
        lambda p: (p.folder / "study.journal").unlink(),
        "The study .*study.journal is gone. It has 4 checkpoints, so this is not how it was: put",
    ),
}


@pytest.mark.parametrize("name", INCURABLE)
def test_what_cannot_be_mended_is_left_and_said(name: str, patient: Patient) -> None:
    damage, words = INCURABLE[name]
    damage(patient)
    journal = _journal(patient)
    found = patient.visit()
    (one,) = [one for one in found.differences if not one.fixable]
    assert re.search(words, str(one)), str(one)
    assert patient.visit(fix=True).differences == [one]
    again = patient.visit(fix=True)
    assert (again.differences, again.fixed) == ([one], [])
    assert _journal(patient) == journal


def test_a_server_that_is_away_is_a_difference_and_costs_no_other_repair(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    spec = patient.folder / "spec.yaml"
    spec.write_text(spec.read_text() + "tracking_uri: http://127.0.0.1:9\n")
    patient.file(0, "json").unlink()
    assert main(["doctor", NAME, "--home", str(patient.home), "--fix"]) == 1
    said = capsys.readouterr()
    assert "mended  trial 0: its checkpoint has no card" in said.out
    assert re.search(r"MLflow at http://127.0.0.1:9 cannot be read: .*; once it answers, `tuning", said.out)
    assert said.err == ""


def test_a_storage_that_is_not_there_is_said_and_nothing_is_put_in_its_place(
    patient: Patient, tmp_path: Path
) -> None:
    spec = patient.folder / "spec.yaml"
    spec.write_text(spec.read_text() + f"storage: {tmp_path}/not-mounted\n")
    for fix in (False, True):
        (one,) = patient.visit(fix=fix).differences
        assert "must hold what" in one.text and "is its disk mounted" in one.text and not one.fixable
    with pytest.raises(tuning.SweepError, match="is its disk mounted"):
        tuning.sweep(replace(notation.load(spec), home=str(patient.home), trials=6))
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_does_not_answer_is_said(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(folder: str) -> list[str]:
        raise OSError(5, "Input/output error", folder)

    monkeypatch.setattr(storage, "names", silent)
    (one,) = patient.visit(fix=True).differences
    assert "not all of it can be read: " in one.text and "Input/output error" in one.text


def test_a_database_that_is_none_is_said(patient: Patient) -> None:
    spec = patient.folder / "spec.yaml"
    spec.write_text(spec.read_text() + f"tracking_uri: sqlite:///{patient.home}/torn.db\n")
    (patient.home / "torn.db").write_text("garbage" * 100)
    (one,) = patient.visit(fix=True).differences
    assert "torn.db cannot be read: " in one.text and not one.fixable


def test_json_is_all_of_standard_output(patient: Patient, capfd: pytest.CaptureFixture[str]) -> None:
    patient.file(0, "json").unlink()
    home = ["--home", str(patient.home), "--json"]
    assert main(["doctor", NAME, *home]) == 1
    difference = {"trial": 0, "text": "its checkpoint has no card", "fixable": True}
    facts = {"sweep": NAME, "healthy": False, "differences": [difference], "fixed": []}
    assert json.loads(capfd.readouterr().out) == facts
    assert main(["doctor", NAME, *home, "--fix"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        **facts, "healthy": True, "differences": [], "fixed": [difference],
    }  # fmt: skip


def test_text_is_a_line_per_difference_and_one_that_sums_up(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    patient.file(0, "json").unlink()
    patient.client.set_tag(patient.run(2).info.run_id, "tuning.state", "failed")
    home = ["--home", str(patient.home)]
    lines = [
        "trial 0: its checkpoint has no card",
        "trial 2: its MLflow run has not the right tags: tuning.state",
    ]
    assert main(["doctor", NAME, *home]) == 1
    said = capsys.readouterr().out.splitlines()
    resume = f"`tuning resume {' '.join([NAME, *home])}` also mends what a killed driver has left"
    way = f"`tuning doctor {' '.join([NAME, *home])} --fix` mends 2 ({resume})"
    assert said == [*lines, f"{NAME}: 2 differences left; {way}"]
    assert main(["doctor", NAME, *home, "--fix"]) == 0
    said = capsys.readouterr().out.splitlines()
    agree = f"{NAME}: 2 differences mended, study, MLflow and checkpoints agree on 5 trials"
    assert said == [*(f"mended  {line}" for line in lines), agree]


def test_a_sweep_that_is_driven_or_is_not_there_is_refused(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    from tuning.claim import claim

    home = ["--home", str(patient.home)]
    with claim(patient.folder / "driver.lock", NAME):
        assert main(["doctor", NAME, *home, "--fix"]) == 2
    assert "is running: process" in capsys.readouterr().err
    assert main(["doctor", "wart", *home]) == 2
    assert "ward" in capsys.readouterr().err
    assert not (patient.home / "wart").exists()
