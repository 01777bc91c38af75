import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from benchmarks import children, findings, holdings, samples
from benchmarks.findings import Check, Findings
from benchmarks.holdings import Holdings
from benchmarks.samples import Journal, Sample
from benchmarks.trace import BenchmarkError

CIRCUMSTANCES: Mapping[str, Any] = {
    "date": "2026-01-01",
    "commit": "0123456789ab",
    "command": "python -m benchmarks.soak",
    "machine": {"cpu": "abacus", "cores": 2, "memory_gb": 4.0, "load_before": 0.1, "system": "Linux"},
    "versions": {"python": "3.11"},
}


def sample(ended: int, *, files: int = 40, kb: float = 1000.0) -> Sample:
    return Sample(seconds=ended / 10, ended=ended, files=files, kb=kb, threads=30)


def holds(trials: int = 3, **changed: Any) -> Holdings:
    """All that there is of a sweep of three trials, of which the last one has diverged."""
    folders = {number: f"mlartifacts/{number}/artifacts" for number in range(trials)}
    files = {"mlflow.db", "mlartifacts/p/artifacts/spec.yaml", *(f"one/{f}" for f in holdings.OF_A_SWEEP)}
    for number in range(trials - 1):
        for folder in ("one/checkpoints", f"{folders[number]}/checkpoint"):
            files |= {f"{folder}/trial-{number:05d}.pt", f"{folder}/trial-{number:05d}.json"}
    whole = Holdings(
        name="one",
        ended=range(trials),
        with_result=range(trials - 1),
        parents=["FINISHED"],
        runs=[(number, "FINISHED") for number in range(trials)],
        artifacts=folders,
        parent_artifacts=["mlartifacts/p/artifacts"],
        registered=["mlartifacts/models/m-1/artifacts/"],
        files=frozenset(files | {"mlartifacts/models/m-1/artifacts/MLmodel"}),
    )
    return replace(whole, **changed)


@pytest.mark.parametrize(
    ("parents", "below"),
    [({}, set()), ({20: 10, 30: 20, 5: 30, 40: 1}, {20, 30, 5}), ({10: 1, 20: 1}, set())],
    ids=["nothing runs", "a child of a child, its number less", "others' processes"],
)
def test_descendants_are_found_through_their_parents(parents: dict[int, int], below: set[int]) -> None:
    assert children.descendants(parents, 10) == below


def test_a_journal_tells_how_many_trials_have_ended_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    seen = Journal(path)
    assert seen.ended() == 0
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    study = optuna.create_study(storage=optuna.storages.JournalStorage(backend))
    study.tell(study.ask(), 1.0)
    study.tell(study.ask(), state=optuna.trial.TrialState.PRUNED)
    study.ask()
    assert seen.ended() == 2
    whole = path.read_bytes()
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    later = path.read_bytes()
    path.write_bytes(later[:-10])
    assert len(later) > len(whole) and seen.ended() == 2
    path.write_bytes(later)
    assert seen.ended() == 3


def test_a_driver_is_looked_at_while_trials_run() -> None:
    seen = [sample(0, files=900), *(sample(ended) for ended in range(10, 100, 10)), sample(100, files=3)]
    assert [samples.at_share(seen, 100, share).ended for share in (0.0, 0.2, 1.0)] == [30, 40, 70]
    assert {samples.at_share(seen, 100, share).files for share in (0.0, 0.2, 1.0)} == {40}


def test_one_file_that_is_just_open_is_no_leak() -> None:
    seen = [sample(ended, files=60 if ended == 30 else 40) for ended in range(10, 60, 10)]
    assert samples.at_share(seen, 100, 0.2).files == 40


def test_memory_is_counted_per_trial() -> None:
    assert samples.kb_per_trial(sample(20, kb=1000.0), sample(70, kb=1500.0)) == 10.0


@pytest.mark.parametrize("seen", [[], [sample(0)], [sample(100)]])
def test_a_sweep_that_nobody_saw_run_has_no_figures(seen: Sequence[Sample]) -> None:
    with pytest.raises(BenchmarkError, match="too soon"):
        samples.at_share(seen, 100, 0.2)


def test_two_looks_at_the_same_trial_are_no_growth() -> None:
    with pytest.raises(BenchmarkError, match="more trials"):
        samples.kb_per_trial(sample(20), sample(20))


def test_a_sweep_that_holds_each_trial_once_passes() -> None:
    assert all(check.is_met for check in holdings.judge([holds()], {"one": 3}))


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"ended": [0, 1]}, 1),
        ({"ended": [0, 1, 2, 3]}, 1),
        ({"runs": [(0, "FINISHED"), (1, "FINISHED"), (1, "FINISHED")]}, 2),
        ({"parents": []}, 1),
        ({"parents": ["FINISHED", "FINISHED"]}, 1),
        ({"files": frozenset()}, 2),
    ],
    ids=["a trial too few", "too many", "a run missing, another twice", "no parent", "two", "no checkpoints"],
)
def test_what_is_missing_or_there_twice_is_counted(changed: dict[str, Any], wrong: int) -> None:
    assert holds(**changed).wrong(3) == wrong


def test_runs_that_are_left_running_are_counted() -> None:
    assert holds(parents=["RUNNING"], runs=[(0, "RUNNING"), (1, "KILLED")]).running == 2


@pytest.mark.parametrize(
    "stray",
    ["one/.spec.yaml.0a1b2c3d", "one/resume/cohort-1.pt", "two/spec.yaml", "mlartifacts/models/m-2/MLmodel"],
)
def test_a_file_that_belongs_to_nothing_is_named(stray: str) -> None:
    assert holdings.strays([holds(files=holds().files | {stray})]) == [stray]


def test_a_checkpoint_that_mlflow_lacks_is_named() -> None:
    lost = "mlartifacts/0/artifacts/checkpoint/trial-00000.pt"
    assert holdings.missing([holds(files=holds().files - {lost})]) == [lost]


def test_results_are_written_anew_from_what_was_kept() -> None:
    found = Findings(
        title="A part",
        text="Of a test.",
        head=("what", "s"),
        rows=[("milestone", "1.0")],
        checks=[Check("seconds", 9.96, 10.0), Check.none("processes left", ["raylet", "ray::IDLE"])],
    )
    kept = json.loads(json.dumps({**CIRCUMSTANCES, **findings.plain(found)}))
    text = findings.document("Load and soak", [kept])
    assert text.startswith("# Load and soak\n\n## A part\n\nOf a test.\n\n| what | s |")
    assert "| seconds | 10.0 | at most 10 | met |" in text
    assert "| processes left | 2 | at most 0 | missed |" in text
    assert "commit 0123456789ab, `python -m benchmarks.soak`" in text
    assert kept["checks"][1]["counted"] == ["raylet", "ray::IDLE"]
