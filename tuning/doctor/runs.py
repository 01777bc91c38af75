"""MLflow's runs, compared with what they should be, and written where they are not."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tuning.doctor import checkpoints, wanted
from tuning.doctor.agreement import is_same
from tuning.doctor.difference import Difference, few
from tuning.doctor.parent import parent_texts, settled_status
from tuning.errors import without_passwords
from tuning.ledger import Sweep
from tuning.records import TrialRecord
from tuning.references import model_name
from tuning.tracking import client, inventory, mending
from tuning.tracking.inventory import Inventory, Points
from tuning.tracking.messages import Close, Job
from tuning.tracking.pending import History, Run
from tuning.tracking.spool import Spool
from tuning.tracking.stores import STATUS, params_of


@dataclass(frozen=True, slots=True)
class Chart:
    """A trial's runs in MLflow, the best one first, beside what it should have."""

    runs: list[Any]
    wrong: list[str]
    """What the first says that cannot be written over: it is written anew, under another id."""
    lacking: list[str]

    @property
    def texts(self) -> list[str]:
        if not self.runs:
            return ["it has no run in MLflow"]
        several = [f"it has {len(self.runs)} runs in MLflow"] if len(self.runs) > 1 else []
        return [*several, *self.wrong, *self.lacking]


def read(sweep: Sweep) -> Inventory | None:
    """Return what MLflow has of the sweep; None where there is no database yet.

    Raises:
        SweepError: when it does not answer.
    """
    return inventory.read(sweep.spec, model_name(sweep.spec.model), _uri(sweep))


def look(sweep: Sweep, held: Inventory | None) -> list[Difference]:
    found = waiting(sweep)
    if held is None or held.experiment_id is None:
        nothing = Difference(None, f"MLflow at {without_passwords(_uri(sweep))} has nothing of it")
        return [*found, *([nothing] if sweep.trials else [])]
    if held.is_deleted:
        return [*found, Difference(None, "its experiment in MLflow was deleted, with all its runs")]
    found += [Difference(None, text) for text in parent_texts(sweep, held)]
    for number, chart in _charts(sweep, held, wanted.histories(sweep)).items():
        found += [Difference(number, text) for text in chart.texts]
    for run in held.nameless:
        found.append(
            Difference(None, f"the MLflow run {run.info.run_id} says of no trial that it is its run")
        )
    return [*found, *_strangers(sweep, held)]


def waiting(sweep: Sweep) -> list[Difference]:
    """Return what waits in the spool to be written to MLflow."""
    spool = Spool(sweep.paths.spool)
    damaged = mending.damaged(spool)
    found = [Difference(None, f"{sweep.paths.spool / name} is damaged") for name in damaged]
    if trials := mending.spooled(spool):
        found.append(Difference(None, f"records of {few(sorted(trials))} wait to be written to MLflow"))
    return found


def mend(sweep: Sweep) -> None:
    """Have MLflow hold what the study holds.

    Raises:
        Exception: whatever stands against writing it.
    """
    held = read(sweep)
    if not any(found.fixable for found in look(sweep, held)):
        return
    if held is not None and mending.revive(held):
        held = read(sweep)
    job = Job(
        sweep.spec, model_name(sweep.spec.model), _uri(sweep), sweep.paths.home, sweep.folder, again=True
    )
    status = settled_status(sweep, held)
    parent_id = mending.settle_parent(job, held).parent_id
    held = read(sweep)
    assert held is not None
    histories = wanted.histories(sweep)
    spooled = mending.spooled(Spool(sweep.paths.spool))
    earlier = {}
    for trial in sweep.trials:
        chart = _chart(sweep, held, trial, histories[trial.number], parent_id)
        mending.delete(held, chart.runs[0 if chart.wrong else 1 :])
        for run in [] if chart.wrong else chart.runs[:1]:
            mending.tag(held, run, wanted.tags(sweep, trial, parent_id))
        if chart.texts or trial.number in spooled:
            earlier[trial.number] = trial, histories[trial.number]
    close = Close(status, sweep.best, sweep.test, confirmation=sweep.confirmation)
    mending.write(replace(job, earlier=earlier), close)


def _uri(sweep: Sweep) -> str:
    return client.uri_of(sweep.spec, sweep.paths.home)


def _charts(sweep: Sweep, held: Inventory, histories: Mapping[int, History]) -> dict[int, Chart]:
    parent_id = held.parents[0].info.run_id if len(held.parents) == 1 else None
    return {t.number: _chart(sweep, held, t, histories[t.number], parent_id) for t in sweep.trials}


def _chart(
    sweep: Sweep, held: Inventory, trial: TrialRecord, history: History, parent_id: str | None
) -> Chart:
    should, metric = wanted.run(trial, history), str(sweep.spec.metric)

    def wrong(run: Any) -> list[str]:
        return _wrong(should, metric, run, held.points.get(run.info.run_id, {}))

    def rank(run: Any) -> tuple[int, int]:
        return len(wrong(run)), -len(held.points.get(run.info.run_id, {}))

    runs = held.children.get(trial.number, [])
    if len(runs) > 1:
        runs = sorted(runs, key=rank)
    lacking = _lacking(should, wanted.tags(sweep, trial, parent_id), runs[0], held) if runs else []
    if runs:
        files = checkpoints.sound_files(sweep, trial)
        copies = inventory.differing(held.client, runs[0], files)
        lacking += [f"MLflow has no such copy of its files: {few(copies)}"] if copies else []
    return Chart(runs, wrong(runs[0]) if runs else [], lacking)


def _wrong(should: Run, metric: str, run: Any, points: Points) -> list[str]:
    """Return what a run says otherwise and MLflow never lets anybody change."""
    found = []
    params = [k for k, v in params_of(should).items() if run.data.params.get(k, v) != v]
    if params:
        found.append(f"its MLflow run has other values of {few(params)}")
    doubled = [place for place in should.metrics if len(points.get(place, ())) > 1]
    if doubled:
        found.append(f"its MLflow run has doubled points: {_places(doubled)}")
    changed = [
        place
        for place, (value, _) in should.metrics.items()
        if place not in doubled
        and not all(_is_right(place[0], value, there, metric) for there in points.get(place, ()))
    ]
    if changed:
        found.append(f"its MLflow run has other values: {_places(changed)}")
    return found


def _is_right(key: str, value: float, there: float, metric: str) -> bool:
    """Whether a point is right: the study and MLflow were told the sweep's metric in the same words."""
    return value == there if key == metric else is_same(key, value, there)


def _lacking(should: Run, tags: Mapping[str, str], run: Any, held: Inventory) -> list[str]:
    """Return what can be written into a run as it is."""
    found = []
    assert should.state is not None
    if run.info.status != STATUS[should.state]:
        right = f"{should.state} ({STATUS[should.state]})"
        found.append(f"its MLflow run is {run.info.status}, but it is {right}")
    if other := [key for key, value in tags.items() if run.data.tags.get(key) != value]:
        found.append(f"its MLflow run has not the right tags: {few(other)}")
    if gone := [key for key in params_of(should) if key not in run.data.params]:
        found.append(f"its MLflow run lacks the params {few(gone)}")
    points = held.points.get(run.info.run_id, {})
    if missing := [place for place in should.metrics if place not in points]:
        found.append(f"its MLflow run lacks points: {_places(missing)}")
    return found


def _places(places: list[tuple[str, int]]) -> str:
    return few(f"{key} at epoch {epoch}" for key, epoch in places)


def _strangers(sweep: Sweep, held: Inventory) -> list[Difference]:
    """Return runs of trials that the study does not have: its file may be an older copy."""
    known = {trial.number for trial in sweep.trials}
    why = "MLflow has its run, but the study no such trial; put the study's own file back, or delete the run"
    return [Difference(number, why, False) for number in sorted(set(held.children) - known)]
