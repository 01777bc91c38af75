"""What trials come to with fresh seeds: what is known, and what is trained now, here or on a cluster."""

from collections.abc import Iterable, Iterator, Sequence

from tuning.confirmed import Run
from tuning.data import Splits
from tuning.ledger import Sweep
from tuning.records import TrialRecord, TrialSpec
from tuning.screen import duration
from tuning.spec import SweepSpec
from tuning.study import Study
from tuning.trust import again
from tuning.trust.progress import Progress


def runs(
    sweep: Sweep,
    study: Study,
    trials: Sequence[TrialRecord],
    seeds: int,
    splits: Splits,
    address: str | None,
) -> dict[int, list[Run]]:
    """Return every trial's runs by seed; those that are not known are trained."""
    spec = again.fresh(sweep.spec)
    wanted = {trial.number: again.members(trial, range(seeds)) for trial in trials}
    found = _confirmed_before(sweep, trials) | study.facts.fresh_runs()
    lacking = [one for members in wanted.values() for one in members if one.number not in found]
    count = f"{len(trials)} trial{'s' if len(trials) > 1 else ''}"
    what = f"{count}, {seeds} fresh seeds each, {spec.epochs} epochs"
    if known := len(trials) * seeds - len(lacking):
        what += f", {known} of {len(trials) * seeds} trainings known from before"
    with Progress("confirming", len(lacking) * (spec.epochs or 0), "epochs") as progress:
        try:
            if lacking:
                events = _events(lacking, sweep, spec, splits, address, progress)
                for one in _results(events, f"{what}: ", progress):
                    found |= one
                    study.facts.set_fresh_runs(found)
            else:
                progress.say(what)
        except KeyboardInterrupt:
            done = sum(one.number in found for one in lacking)
            progress.say(f"{done} of these {len(lacking)} trainings are kept; the same command goes on")
            raise
    return {number: [found[one.number] for one in members] for number, members in wanted.items()}


def _results(events: Iterable[again.Event], what: str, progress: Progress) -> Iterator[dict[int, Run]]:
    """Yield what came of those that trained together; tell the user of all else."""
    for event in events:
        match event:
            case again.Pace(size=size, seconds=seconds):
                about = "" if seconds is None else f", about {duration(seconds)} of training"
                progress.say(f"{what}{size} at once{about}")
            case str():
                progress.say(event)
            case int():
                progress.advance(event)
            case dict():
                yield event


def _events(
    lacking: Sequence[TrialSpec],
    sweep: Sweep,
    spec: SweepSpec,
    splits: Splits,
    address: str | None,
    progress: Progress,
) -> Iterator[again.Event]:
    """Train here, or on a worker of a cluster: the machine that has the study need have no GPU.

    Raises:
        RequestError: when there is no such cluster, or no node of it can hold a worker.
    """
    if address is None:
        yield from again.work(lacking, sweep.sizing, spec, splits, again.device_of(sweep.spec))
        return
    from tuning.schedule import connection, errand, shipping

    with connection.connect(address, own_files=shipping.of([spec])) as cluster:
        cluster.nodes()
        spec = errand.sized(spec, sweep.sizing)
        cpus, gpus = spec.resources.cpus, spec.resources.gpus or 0
        progress.say(
            f"on the cluster at {address}, as soon as a worker is free: cpus={cpus:g}, gpus={gpus:g}"
        )
        yield from errand.events(again.work, spec, sweep.spec.seed, splits, lacking, sweep.sizing)


def _confirmed_before(sweep: Sweep, trials: Sequence[TrialRecord]) -> dict[int, Run]:
    """Return what the last confirmation holds, by the numbers that its trials trained again under."""
    found = sweep.confirmation
    if found is None:
        return {}
    return {
        one.number: run
        for trial in trials
        for seed, run in enumerate(found.runs(trial.number))
        for one in again.members(trial, [seed])
    }
