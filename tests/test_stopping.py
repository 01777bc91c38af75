"""`tuning stop` and `tuning cancel`: a sweep that runs in another process ends early, and loses nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests import sweeps
from tests.chaos import driver
from tests.conftest import REPOSITORY
from tests.dispatch.simulated import SPEC, Sweep, all_alike, changed
from tuning import cli, drive, endings, ledger, run
from tuning.claim import claim
from tuning.doctor import visit
from tuning.endings import Answer, Ending
from tuning.errors import SweepError
from tuning.paths import SweepPaths
from tuning.spec import EarlyStopping

KEYS = {
    "try": [{"lr": lr, "momentum": 0.5} for lr in (0.02, 0.05, 0.1)],
    "early_stopping": {"kind": "asha", "grace_epochs": 1, "reduction": 3},  # one rung, of three epochs
}


@dataclass
class Ended:
    """How a driver ended, what it said, and what it left."""

    code: int
    said: str
    facts: dict[str, Any]
    answers: list[dict[str, Any]]
    """Of the commands that ended it."""
    watched: list[dict[str, Any]]
    """The lines of `tuning status NAME --watch --json` beside it."""
    ledgers: sweeps.Ledgers
    findings: visit.Findings


def ended(folder: Path, place: str | None, count: int, *commands: str) -> Ended:
    """Run a driver; while a worker stands still at a place, run commands on its sweep, and let it go."""
    with driver.started(folder, "--json", place=place, count=count, **KEYS) as one:
        answers, watched = [], ""
        if place is not None:
            one.wait_until(place)
            with watching(one.home) as watcher:
                assert watcher.stdout is not None
                watched = watcher.stdout.readline()
                answers = [tuning_(one.home, command, "chaos", "--json") for command in commands]
                one.go()
                watched += watcher.stdout.read()  # to its end, which is the sweep's
            assert watcher.returncode == 0
        code = one.end()
        said = one.output()
    facts = json.loads(said.splitlines()[-1])
    left = visit.visit("chaos", str(one.home), fix=False)
    lines = [json.loads(line) for line in watched.splitlines()]
    return Ended(code, said, facts, answers, lines, sweeps.read("chaos", one.home), left)


def watching(home: Path) -> "subprocess.Popen[str]":
    options = ["chaos", "--watch", "--json", "--interval", "0.2", "--home", str(home)]
    command = [sys.executable, "-m", "tuning", "status", *options]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def tuning_(home: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tuning", *arguments, "--home", str(home)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stopping")


@pytest.fixture(scope="module")
def stopped(folder: Path) -> Ended:
    """Stopped while its first trial trains its first epoch."""
    return ended(folder, "mid-epoch", 2, "stop")


@pytest.fixture(scope="module")
def cancelled(folder: Path, stopped: Ended) -> Ended:
    """Gone on with, over a request that the first driver never heard; stopped and, at once, cancelled."""
    where = SweepPaths(folder / "home", "chaos")
    dead = json.loads(where.claim.read_text())["id"]
    where.request.write_text(json.dumps({"driver": dead, "ending": "cancelled"}))
    return ended(folder, "replace-resume", 2, "stop", "cancel")


@pytest.fixture(scope="module")
def whole(folder: Path, cancelled: Ended) -> Ended:
    """Gone on with once more, to its total."""
    return ended(folder, None, 0)


def test_a_stopped_sweep_trains_what_it_has_begun_also_after_a_rung_and_nothing_else(stopped: Ended) -> None:
    assert [answer["answer"] for answer in stopped.answers] == ["heard"]
    assert stopped.facts["states"] == {"completed": 1}
    assert stopped.ledgers.study.trials[0].last_step == 3, "after the rung, too"
    assert [trial.state.name for trial in stopped.ledgers.study.trials] == ["COMPLETE", "WAITING", "WAITING"]


def test_it_ends_well_and_says_how_to_go_on(stopped: Ended) -> None:
    assert (stopped.code, stopped.facts["ending"]) == (0, "stopped")
    assert "stopped by `tuning stop`" in stopped.said and "resume with: tuning resume chaos" in stopped.said
    assert stopped.facts["best"]["test"] is not None
    assert stopped.ledgers.parent.info.status == "FINISHED"
    assert stopped.findings.is_healthy, stopped.findings.differences


def test_who_watches_sees_it_run_and_is_let_go_when_it_ends(stopped: Ended) -> None:
    first, *_, last = stopped.watched
    assert (first["is_running"], first["states"]) == (True, {"running": 1})
    assert (last["is_running"], last["states"]) == (False, {"completed": 1})
    assert [(one["trial"], one["value"]) for one in last["top"]] == [(0, stopped.facts["best"]["value"])]


def test_a_request_that_a_dead_driver_left_does_not_end_the_next_one(cancelled: Ended, folder: Path) -> None:
    assert cancelled.answers[0]["answer"] == "heard", "it was there to be stopped itself"
    assert not SweepPaths(folder / "home", "chaos").request.exists()


def test_a_cancelled_sweep_lets_the_running_epoch_end_also_when_it_was_stopped_before(
    cancelled: Ended,
) -> None:
    assert [answer["ending"] for answer in cancelled.answers] == ["stopped", "cancelled"]
    assert (cancelled.code, cancelled.facts["ending"]) == (130, "cancelled")
    assert "cancelled; resume with: tuning resume chaos" in cancelled.said
    assert cancelled.facts["states"]["interrupted"] == 1
    (number,) = cancelled.facts["unfinished"]
    assert cancelled.ledgers.study.trials[number].last_step is not None, "its epoch is kept"
    assert cancelled.ledgers.children[number].info.status == "SCHEDULED"
    assert cancelled.ledgers.parent.info.status == "KILLED"
    assert cancelled.findings.is_healthy, cancelled.findings.differences


def test_what_was_stopped_and_cancelled_is_resumed_to_its_total_and_nothing_is_lost(
    whole: Ended, cancelled: Ended, folder: Path
) -> None:
    assert (whole.code, whole.facts["ending"]) == (0, None)
    assert sum(whole.facts["states"].values()) == driver.TRIALS
    found = ledger.open_sweep("chaos", str(folder / "home"))
    sweeps.assert_they_agree(found, whole.ledgers)
    assert [trial.hyperparameters["lr"] for trial in found.trials[:3]] == [0.02, 0.05, 0.1], (
        "all that were to be tried"
    )
    for number, before in cancelled.ledgers.children.items():
        assert whole.ledgers.children[number].info.run_id == before.info.run_id
    assert whole.ledgers.parent.info.status == "FINISHED"


def test_where_nobody_drives_the_sweep_there_is_nothing_to_end(
    whole: Ended, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["stop", "chaos", "--home", str(folder / "home")]) == 2
    said = capsys.readouterr().err
    assert "no process drives it now: chaos: " in said and "of 6 in " in said
    assert cli.main(["cancel", "chaoss", "--home", str(folder / "home")]) == 2
    assert "did you mean 'chaos'" in capsys.readouterr().err


def test_of_several_sweeps_cancel_ends_the_one_that_it_names(
    home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tuning

    def asked(planned: Any) -> Any:
        if planned.paths.name == "first":
            name = json.loads(planned.paths.claim.read_text())["id"]
            planned.paths.request.write_text(json.dumps({"driver": name, "ending": "cancelled"}))
        return opened(planned)

    opened = drive.open_study
    monkeypatch.setattr(drive, "open_study", asked)
    spec = tuning.SweepSpec(model="net", trials=1, epochs=1, home=str(home))
    first, second = run.sweep_all([replace(spec, name=name) for name in ("first", "second")])
    assert isinstance(first, tuning.SweepResult) and isinstance(second, tuning.SweepResult)
    assert (first.ending, first.interrupted) == (Ending.CANCELLED, True)
    assert (second.ending, second.states) == (None, {"completed": 1})


# ---- without a sweep ---------------------------------------------------------------------------


@pytest.fixture
def where(tmp_path: Path) -> SweepPaths:
    return SweepPaths(tmp_path, "demo")


@pytest.fixture
def hears(where: SweepPaths, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Ending]]:
    """What a driver is told that looks every few milliseconds."""
    monkeypatch.setattr(endings, "INTERVAL_S", 0.01)
    heard: list[Ending] = []
    with claim(where.claim, "demo") as name, endings.listening(where.request, name, heard.append):
        yield heard


@pytest.mark.parametrize("ending", [Ending.STOPPED, Ending.CANCELLED])
def test_a_driver_hears_what_it_is_asked(where: SweepPaths, hears: list[Ending], ending: Ending) -> None:
    assert endings.ask(where, ending) is Answer.HEARD
    assert endings.ask(where, ending) is Answer.HEARD, "twice is as good as once"
    assert set(hears) <= {ending}
    assert os.listdir(where.folder) == ["driver.lock"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"driver": "of another", "ending": "cancelled"}',
        b'{"driver": "of another"',
        b"[]",
        b'{"ending": ["cancelled"]}',
        b"\xff",
    ],
)
def test_what_is_no_request_to_this_driver_is_taken_away_unheard(
    where: SweepPaths, hears: list[Ending], content: bytes
) -> None:
    where.request.write_bytes(content)
    assert endings.ask(where, Ending.STOPPED) is Answer.HEARD
    assert Ending.CANCELLED not in hears


def test_one_that_does_not_listen_yet_is_waited_for_a_while(
    where: SweepPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "INTERVAL_S", 0.01)
    with claim(where.claim, "demo") as name:
        assert endings.ask(where, Ending.STOPPED, patience_s=0.0) is Answer.PENDING
        heard: list[Ending] = []
        with endings.listening(where.request, name, heard.append):
            assert endings.ask(where, Ending.STOPPED) is Answer.HEARD
    assert heard and set(heard) == {Ending.STOPPED}


def test_a_stop_takes_no_cancel_back(where: SweepPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "INTERVAL_S", 0.01)
    heard: list[Ending] = []
    with claim(where.claim, "demo") as name:
        for ending in (Ending.STOPPED, Ending.CANCELLED, Ending.STOPPED):
            assert endings.ask(where, ending, patience_s=0.0) is Answer.PENDING
        with endings.listening(where.request, name, heard.append):
            assert endings.ask(where, Ending.STOPPED) is Answer.HEARD
    assert heard[0] is Ending.CANCELLED


def test_one_of_an_earlier_version_is_not_asked(where: SweepPaths) -> None:
    with claim(where.claim, "demo"):
        where.claim.write_text('{"host": "here", "pid": 1}')
        with pytest.raises(SweepError, match="press Ctrl-C where it runs"):
            endings.ask(where, Ending.STOPPED)
    assert not where.request.exists()


def test_one_that_has_ended_meanwhile_leaves_no_request(where: SweepPaths) -> None:
    with claim(where.claim, "demo"):
        endings.ask(where, Ending.STOPPED, patience_s=0.0)
    assert endings.ask(where, Ending.STOPPED) is Answer.ENDED


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_closing_sweep_ends_when_all_it_has_begun_have(tmp_path: Path, size: int, workers: int) -> None:
    sweep = Sweep(tmp_path, all_alike, changed(early_stopping=EarlyStopping(kind="asha")), size)
    sweep.run(workers, dies_after=workers)  # an epoch of each worker's first cohort
    sweep = Sweep(tmp_path, all_alike, sweep.spec, size)
    begun = len(sweep.trials)
    assert begun > 0
    sweep.dispatcher.closing = True
    assert not sweep.dispatcher.is_done
    sweep.run(workers)
    assert sweep.dispatcher.is_done and sweep.dispatcher.next_cohort() is None
    assert sweep.states == ["completed"] * begun
    assert sweep.resume_files() == []


def test_one_that_has_begun_nothing_ends_at_once(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, all_alike, SPEC)
    sweep.dispatcher.closing = True
    assert sweep.dispatcher.is_done and sweep.dispatcher.next_cohort() is None
