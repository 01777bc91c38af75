"""`tuning confirm`: the best trials trained again with fresh seeds, and measured on the test split.

Each is trained to its last epoch, whatever becomes of it on the way, and its model is that of the epoch
which is best on the validation split, as in the sweep. What is claimed, and when it does not hold, says
`trust.verdict`. The result is kept in the sweep's study, once all is done; each training's as soon as it is.

A seed means the same training whenever it is asked for. So what an earlier confirmation has found, or one
that came to no end, is not trained again. The trials of an earlier one stay in this one, with as many seeds
as all the others have: the best is the best of all that were ever confirmed, and nobody is it for having had
fewer seeds.
"""

import sys
from collections.abc import Sequence
from functools import partial

import torch

from tuning import ledger, paths, reuse
from tuning.claim import CONFIRMS, claim
from tuning.confirmed import Confirmation, Confirmed, Run
from tuning.data import Splits
from tuning.engine import machine
from tuning.errors import RequestError, SweepError, one_line
from tuning.ledger import Sweep
from tuning.processors import idle_cpus
from tuning.records import State, TrialRecord, ranked
from tuning.references import load_data, model_name
from tuning.reuse import LoadedModel
from tuning.screen import duration
from tuning.study import Study
from tuning.trust import again, verdict
from tuning.trust.progress import Progress


def confirm(name: str, top: int = 5, seeds: int = 5, home: str | None = None) -> Confirmation:
    """Train a sweep's best trials again, and keep what comes of it in the sweep.

    Args:
        top: so many of the best completed trials, or as many as there are.
        seeds: of each; an earlier confirmation that had more keeps them.

    Raises:
        RequestError: when there is no such sweep, somebody drives it, or a number makes no sense.
        SweepError: when it has no completed trial, or one cannot be trained again.
    """
    if top < 1:
        raise RequestError(f"--top must be at least 1, but got {top}.")
    if not 2 <= seeds <= again.MOST_SEEDS:
        raise RequestError(
            f"--seeds must be at least 2, for there is no interval of one, and at most {again.MOST_SEEDS}, "
            f"but got {seeds}."
        )
    where = ledger.open_sweep(name, home).paths
    with claim(where.claim, name, CONFIRMS):
        sweep = ledger.open_sweep(name, home)  # as the last driver has left it
        trials = _chosen(sweep, top)
        splits = _data(sweep)
        for trial in trials:
            _loaded(sweep, trial)  # one that cannot be opened is found now, not after the training
        try:
            study = Study(sweep.spec, sweep.paths.journal, write=True)
            found = _confirmed(sweep, study, trials, seeds, splits)
            _keep(sweep, study, found, splits)
        except OSError as error:
            raise SweepError(f"What was confirmed cannot be kept: {error}. Mend that, and repeat.") from error
        _tell(sweep, study, found)
    return found


def _keep(sweep: Sweep, study: Study, found: Confirmation, splits: Splits) -> None:
    """Write what was found into the sweep, and what its best model comes to on the test split."""
    number = found.best.trial
    known = study.facts.test(number)
    test = known or reuse.measure(_loaded(sweep, sweep.trial(number)), "test", splits)
    with study.batch():
        study.facts.set_confirmation(found.to_plain())
        study.facts.set_test(number, test)


def _tell(sweep: Sweep, study: Study, found: Confirmation) -> None:
    """Have MLflow and the report say what was found and is kept; what stands against that is a warning."""
    from tuning.tracking import client, confirmed

    name, best = sweep.spec.name, sweep.trial(found.best.trial)
    uri, model = client.uri_of(sweep.spec, sweep.paths.home), model_name(sweep.spec.model)
    failure = confirmed.tell(uri, model, sweep.spec, best, study.facts.test(best.number) or {}, found)
    if failure is None:
        _crown(sweep, study, best, uri)
    else:
        way = f"once it answers, `tuning doctor {name} --fix` writes it there, and trains nothing"
        print(one_line(f"warning: MLflow at {uri} was not told: {failure}; {way}"), file=sys.stderr)
    _report(sweep, uri if failure is None else None)


def _crown(sweep: Sweep, study: Study, best: TrialRecord, uri: str) -> None:
    """Make the confirmed model the champion of MLflow's registry; say what became of that."""
    from tuning.export import winner

    say = partial(print, file=sys.stderr)
    try:
        winner.crown(study, sweep.folder, best, uri, say)
    except OSError as error:  # of the study; the next driver asks again, and finds it done
        say(f"warning: the study cannot keep which model is the champion: {error}")


def _report(sweep: Sweep, uri: str | None) -> None:
    """Write the sweep's report anew, which names the best, and put it into MLflow at `uri`."""
    from tuning.report import write
    from tuning.tracking import client

    name, model = str(sweep.spec.name), model_name(sweep.spec.model)
    try:
        file = write.write(ledger.open_sweep(name, str(sweep.paths.home)))
    except Exception as error:  # of figures, of a disk: nothing depends on a report
        print(f"warning: no report was made: {one_line(error)}; `tuning report {name}` does", file=sys.stderr)
        return
    if uri is None:
        return
    _, trouble = client.attach(uri, model, str(sweep.spec.id), file, paths.REPORT)
    if trouble is not None:
        way = f"`tuning report {name}` puts it there"
        print(one_line(f"warning: the report is not in MLflow at {uri}: {trouble}; {way}"), file=sys.stderr)


def _loaded(sweep: Sweep, trial: TrialRecord) -> LoadedModel:
    path = paths.checkpoint_file(sweep.folder, trial.number)
    return reuse.load_of_sweep(path, sweep.spec, trial.number)


def _chosen(sweep: Sweep, top: int) -> list[TrialRecord]:
    """Return the best completed trials and those that were confirmed before, in the order of the search."""
    assert sweep.spec.mode is not None
    completed = ranked((t for t in sweep.trials if t.state is State.COMPLETED), sweep.spec.mode)
    if not completed:
        raise sweep.lacks("completed trial to confirm")
    if len(completed) < top:
        few = f"only {len(completed)} of {len(sweep.trials)} trials completed"
        print(f"{few}, and no other is confirmed (--early-stopping none prunes none)", file=sys.stderr)
    earlier = sweep.confirmation
    return [
        trial
        for index, trial in enumerate(completed)
        if index < top or (earlier is not None and earlier.runs(trial.number))
    ]


def _data(sweep: Sweep) -> Splits:
    """Return the sweep's data in its own splits.

    Raises:
        SweepError: when it is no longer what the trials were trained on.
    """
    splits = load_data(str(sweep.spec.data), seed=sweep.spec.seed)
    if sweep.fingerprint not in (None, splits.fingerprint):
        raise SweepError(
            f"Data {sweep.spec.data!r} is not what the sweep {sweep.spec.name!r} was trained on: its "
            "fingerprint differs. Put it back as it was."
        )
    return splits


def _confirmed(
    sweep: Sweep, study: Study, trials: Sequence[TrialRecord], seeds: int, splits: Splits
) -> Confirmation:
    if sweep.confirmation is not None:
        seeds = max(seeds, sweep.confirmation.seeds)
    found: list[Confirmed] = []
    hopeless: list[int] = []
    runs = _trained(sweep, study, trials, seeds, splits)
    for trial in trials:
        one = verdict.summary(trial.number, trial.value or 0.0, runs[trial.number], str(sweep.spec.metric))
        if one is None:
            hopeless.append(trial.number)
        else:
            found.append(one)
    if not found:
        raise SweepError(
            f"All {len(trials)} trials diverged with each of {seeds} fresh seeds: none is to be relied on. "
            "Search lower learning rates; nothing is confirmed."
        )
    assert sweep.spec.mode is not None
    return verdict.judge(
        str(sweep.spec.metric), sweep.spec.mode, seeds, found, hopeless, winner=trials[0].number
    )


def _trained(
    sweep: Sweep, study: Study, trials: Sequence[TrialRecord], seeds: int, splits: Splits
) -> dict[int, list[Run]]:
    """Return every trial's runs by seed; those that are not known are trained."""
    spec, device = again.fresh(sweep.spec), again.device_of(sweep.spec)
    wanted = {trial.number: again.members(trial, range(seeds)) for trial in trials}
    runs = _confirmed_before(sweep, trials) | study.facts.fresh_runs()
    lacking = [one for members in wanted.values() for one in members if one.number not in runs]
    what = f"{len(trials)} trials, {seeds} fresh seeds each, {spec.epochs} epochs"
    if known := len(trials) * seeds - len(lacking):
        what += f", {known} of {len(trials) * seeds} trainings known from before"
    with Progress("confirming", len(lacking) * (spec.epochs or 0), "epochs") as progress:
        if not lacking:
            progress.say(what)
        else:
            with machine.threads(min(torch.get_num_threads(), idle_cpus())):
                pace = again.pace(spec, sweep.sizing, splits, device, len(lacking))
            about = "" if pace.seconds is None else f", about {duration(pace.seconds)}"
            progress.say(f"{what}: {min(pace.size, len(lacking))} at once{about}")
            try:
                for found in again.train(lacking, spec, splits, device, pace.size, progress):
                    runs |= found
                    study.facts.set_fresh_runs(runs)
            except KeyboardInterrupt:
                done = sum(one.number in runs for one in lacking)
                progress.say(f"{done} of these {len(lacking)} trainings are kept; the same command goes on")
                raise
    return {number: [runs[one.number] for one in members] for number, members in wanted.items()}


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
