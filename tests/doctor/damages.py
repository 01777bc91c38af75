"""All that may befall a sweep and can be mended."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.doctor.ward import NAME, Patient
from tuning.records import State
from tuning.study import Study
from tuning.tracking.pending import Run
from tuning.tracking.spool import Spool
from tuning.trust import verdict

Damage = Callable[[Patient, int], object]
"""Does harm to a trial that has a checkpoint, or to the sweep as a whole."""


def _doubled(patient: Patient, number: int) -> None:
    run_id = patient.run(number).info.run_id
    patient.client.log_metric(run_id, "train_loss", 0.5, timestamp=1, step=1)


def _second_run(patient: Patient, number: int) -> None:
    run = patient.run(number)
    tags = {key: value for key, value in run.data.tags.items() if key.startswith(("tuning.", "mlflow.pa"))}
    patient.client.create_run(run.info.experiment_id, tags=tags, run_name=run.info.run_name)


def _second_parent(patient: Patient, number: int) -> None:
    run = patient.parent()
    patient.client.create_run(run.info.experiment_id, tags=run.data.tags, run_name=run.info.run_name)


def _other_card(patient: Patient, number: int, **changes: object) -> None:
    card = json.loads(patient.file(number, "json").read_text())
    patient.file(number, "json").write_text(json.dumps({**card, **changes}))


def _flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def _spooled(patient: Patient, number: int) -> None:
    """As after a night without a server, and a driver that ended before it came back."""
    Spool(patient.folder / "spool").put({number: Run(state=State.INTERRUPTED)})


def _append(file: Path, content: str) -> None:
    with open(file, "a") as opened:
        opened.write(content)


def _write(file: Path, content: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)


def _of_run(statement: str) -> Damage:
    return lambda patient, number: patient.sql(statement, patient.run(number).info.run_id)


def _other_champion(patient: Patient, number: int) -> None:
    source = patient.client.get_model_version(NAME, "1").source
    made = patient.client.create_model_version(NAME, source, tags={"tuning.trial": "99"})
    patient.client.set_registered_model_alias(NAME, "champion", made.version)


def _confirmed(patient: Patient, number: int) -> None:
    """As by a `tuning confirm` that MLflow was away from."""
    sweep = patient.sweep()
    best, runs = sweep.best_or_raise(), [(value, {"test_loss": value}) for value in (0.25, 0.5)]
    one = verdict.summary(best.number, best.value or 0.0, runs)
    assert one is not None
    study = Study(sweep.spec, sweep.paths.journal, write=True)
    study.facts.set_confirmation(verdict.judge("val_loss", "min", 2, [one]).to_plain())


CURABLE: dict[str, tuple[Damage, str]] = {
    "half a record": (
        lambda p, n: _append(p.folder / "study.journal", '{"op_code": 6, "trial_id"'),
        "study.journal ends with half a record",
    ),
    "lock": (
        lambda p, n: (p.folder / "study.journal.lock").symlink_to("nowhere"),
        "study.journal.lock was left by a driver that died",
    ),
    "aside": (
        lambda p, n: _write(p.folder / "checkpoints/.trial-00000.pt.0123abcd", "half"),
        "trial-00000.pt.0123abcd was left half written",
    ),
    "resume state": (
        lambda p, n: _write(p.folder / "resume/cohort-a.pt", "torn"),
        "cohort-a.pt was left, though no trial of the sweep is unfinished",
    ),
    "torn checkpoint": (
        lambda p, n: p.file(n).write_bytes(p.file(n).read_bytes()[:500]),
        "its checkpoint is torn",
    ),
    "flipped checkpoint": (lambda p, n: _flipped(p.file(n)), "its checkpoint is (torn|not the file)"),
    "empty checkpoint": (lambda p, n: p.file(n).write_bytes(b""), "its checkpoint is torn"),
    "other checkpoint": (
        lambda p, n: shutil.copy(p.file(0 if n else 3), p.file(n)),
        "not the file that its card describes",
    ),
    "no checkpoint": (lambda p, n: p.file(n).unlink(), "its checkpoint is gone, though its card is there"),
    "no card": (lambda p, n: p.file(n, "json").unlink(), "its checkpoint has no card"),
    "torn card": (lambda p, n: p.file(n, "json").write_text("{"), "the card of its checkpoint is torn"),
    "other card": (
        lambda p, n: _other_card(p, n, value=7.5),
        r"its checkpoint has val_loss=7.5 at epoch \d, the study",
    ),
    "card of numbers": (
        lambda p, n: _other_card(p, n, history=[{"val_loss": 7.5}, 5, 5]),
        "its checkpoint has a history that is no list of metrics per epoch",
    ),
    "other hash": (lambda p, n: _other_card(p, n, sha256="0"), "not the file that its card describes"),
    "another sweep's card": (
        lambda p, n: _other_card(p, n, sweep="other", sweep_id="1-2"),
        r"is of trial \d of a sweep 'other'",
    ),
    "neither": (
        lambda p, n: (p.file(n).unlink(), p.file(n, "json").unlink()),
        "its checkpoint and card are gone",
    ),
    "copy gone": (lambda p, n: p.copy(n).unlink(), r"no such copy of its files: trial-0000\d.pt"),
    "copy torn": (lambda p, n: _flipped(p.copy(n, "json")), r"no such copy of its files: trial-0000\d.json"),
    "spool": (_spooled, r"records of \d wait to be written to MLflow"),
    "torn spool": (
        lambda p, n: _write(p.folder / "spool/000000000009.json", '{"0"'),
        "spool/000000000009.json is damaged",
    ),
    "foreign spool": (lambda p, n: _write(p.folder / "spool/x.json", "{"), "spool/x.json is damaged"),
    "running": (
        _of_run("UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid = ?"),
        r"its MLflow run is RUNNING, but it is (completed|pruned) \(",
    ),
    "other status": (
        _of_run("UPDATE runs SET status = 'SCHEDULED' WHERE run_uuid = ?"),
        "its MLflow run is SCHEDULED, but it is",
    ),
    "deleted run": (
        lambda p, n: p.client.delete_run(p.run(n).info.run_id),
        "it has no run in MLflow",
    ),
    "no spec": (
        lambda p, n: (p.parent_folder() / "spec.yaml").unlink(),
        "the sweep's run in MLflow has no spec.yaml",
    ),
    "two runs": (_second_run, "it has 2 runs in MLflow"),
    "no points": (_of_run("DELETE FROM metrics WHERE run_uuid = ?"), r"lacks points: \w+ at epoch 1"),
    "doubled point": (_doubled, "has doubled points: train_loss at epoch 1"),
    "other value": (
        _of_run("UPDATE metrics SET value = value + 1 WHERE key = 'val_loss' AND run_uuid = ?"),
        "has other values: val_loss at epoch 1",
    ),
    "no params": (_of_run("DELETE FROM params WHERE run_uuid = ?"), r"lacks the params .*lr"),
    "other param": (
        _of_run("UPDATE params SET value = '7' WHERE key = 'lr' AND run_uuid = ?"),
        "has other values of lr",
    ),
    "other state": (
        lambda p, n: p.client.set_tag(p.run(n).info.run_id, "tuning.state", "failed"),
        "has not the right tags: tuning.state",
    ),
    "no number": (
        lambda p, n: p.client.delete_tag(p.run(n).info.run_id, "tuning.trial"),
        "has not the right tags: tuning.trial",
    ),
    "nameless": (
        lambda p, n: p.client.create_run(
            p.parent().info.experiment_id,
            run_name="x",
            tags={"tuning.sweep_id": p.parent().data.tags["tuning.sweep_id"]},
        ),
        "says of no trial that it is its run",
    ),
    "parent running": (
        lambda p, n: p.client.update_run(p.parent().info.run_id, status="RUNNING"),
        "the sweep's run in MLflow is RUNNING, but should be FINISHED",
    ),
    "parent failed": (
        lambda p, n: p.client.update_run(p.parent().info.run_id, status="FAILED"),
        "the sweep's run in MLflow is FAILED, but should be FINISHED or KILLED",
    ),
    "other best": (
        lambda p, n: p.client.set_tag(p.parent().info.run_id, "tuning.best_trial", "2"),
        "does not say of the best trial what the study does: tuning.best_trial",
    ),
    "other mark": (
        lambda p, n: p.client.set_tag(p.run(1).info.run_id, "tuning.best", "true"),
        r"does not say of the best trial what the study does: tuning.best of trial",
    ),
    "confirmed since": (
        _confirmed,
        "of the best trial what the study does: confirmed_mean, confirmed_low, confirmed_high, tuning.conf",
    ),
    "no champion": (
        lambda p, n: p.client.delete_registered_model_alias(NAME, "champion"),
        "models:/ward@champion is gone from MLflow's registry",
    ),
    "other champion": (
        _other_champion,
        "models:/ward@champion should be its model, but is that of trial 99",
    ),
    "no parent": (
        lambda p, n: p.client.delete_run(p.parent().info.run_id),
        "the sweep has no run of its own in MLflow",
    ),
    "two parents": (_second_parent, "the sweep has 2 runs of its own in MLflow"),
    "no experiment": (
        lambda p, n: p.client.delete_experiment(p.parent().info.experiment_id),
        "its experiment in MLflow was deleted",
    ),
}
"""By name: the damage, and the words in which it is said."""
