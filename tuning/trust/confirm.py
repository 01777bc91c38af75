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

from tuning import ledger, paths, places, reuse
from tuning.claim import CONFIRMS, claim
from tuning.confirmed import Confirmation, Confirmed
from tuning.data import Splits
from tuning.errors import RequestError, SweepError, one_line
from tuning.ledger import Sweep
from tuning.records import State, TrialRecord, ranked
from tuning.references import load_data, model_name, source_doubt, source_hash
from tuning.reuse import LoadedModel
from tuning.study import Study
from tuning.trust import again, fresh, verdict


def confirm(
    name: str, top: int = 5, seeds: int = 5, home: str | None = None, address: str | None = None
) -> Confirmation:
    """Train a sweep's best trials again, and keep what comes of it in the sweep.

    Args:
        top: so many of the best completed trials, or as many as there are.
        seeds: of each; an earlier confirmation that had more keeps them.
        address: of the Ray cluster on a node of which to train; None: that of the sweep, or
            RAY_ADDRESS; `local`: here.

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
        spec = sweep.spec
        trials = _chosen(sweep, top)
        splits = _data(sweep)
        for trial in trials:
            _loaded(sweep, trial)  # one that cannot be opened is found now, not after the training
        try:
            study = Study(sweep.spec, sweep.paths.journal, write=True)
            doubt = source_doubt(spec.model, source_hash(spec.model), study.facts.source())
            if doubt is not None:
                print(f"warning: {doubt}", file=sys.stderr)
            found = _confirmed(sweep, study, trials, seeds, splits, places.address(address or spec.address))
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

    print("registering the best, and writing the report ...", file=sys.stderr, flush=True)
    best = sweep.trial(found.best.trial)
    uri, model = client.uri_of(sweep.spec, sweep.paths.home), model_name(sweep.spec.model)
    failure = confirmed.tell(uri, model, sweep.spec, best, study.facts.test(best.number) or {}, found)
    if failure is None:
        _crown(sweep, study, best, uri)
    else:
        way = f"once it answers, `{sweep.paths.command('doctor')} --fix` writes it there, and trains nothing"
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
    way = f"`{sweep.paths.command('report')}`"
    try:
        file = write.write(ledger.open_sweep(name, str(sweep.paths.home)))
    except Exception as error:  # of figures, of a disk: nothing depends on a report
        print(f"warning: no report was made: {one_line(error)}; {way} makes one", file=sys.stderr)
        return
    if uri is None:
        return
    _, trouble = client.attach(uri, model, str(sweep.spec.id), file, paths.REPORT)
    if trouble is not None:
        print(
            one_line(f"warning: the report is not in MLflow at {uri}: {trouble}; {way} puts it there"),
            file=sys.stderr,
        )


def _loaded(sweep: Sweep, trial: TrialRecord) -> LoadedModel:
    path = paths.checkpoint_file(sweep.folder, trial.number)
    return reuse.load_of_sweep(path, sweep.spec, trial.number)


def _chosen(sweep: Sweep, top: int) -> list[TrialRecord]:
    """Return the best completed trials and those that were confirmed before, in the order of the search."""
    completed = [trial for trial in sweep.trials if trial.state is State.COMPLETED]
    if not completed:
        raise sweep.lacks("completed trial to confirm")
    assert sweep.spec.mode is not None
    completed = ranked(completed, sweep.spec.mode)
    if len(completed) < top:
        few = f"only trials that completed are confirmed, {len(completed)} of {len(sweep.trials)} here"
        print(f"{few} (in a sweep with --early-stopping none all would)", file=sys.stderr)
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
    sweep: Sweep,
    study: Study,
    trials: Sequence[TrialRecord],
    seeds: int,
    splits: Splits,
    address: str | None,
) -> Confirmation:
    if sweep.confirmation is not None:
        seeds = max(seeds, sweep.confirmation.seeds)
    found: list[Confirmed] = []
    hopeless: list[int] = []
    runs = fresh.runs(sweep, study, trials, seeds, splits, address)
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
