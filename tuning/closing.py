"""The end of a sweep: what is left is saved, the best model measured and registered, MLflow closed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tuning import ledger, paths, records, reuse, screen, unfinished
from tuning.confirmed import best_of
from tuning.cost import cost
from tuning.data import Splits
from tuning.dispatch import Dispatcher
from tuning.endings import Ending
from tuning.errors import SweepError, last_line
from tuning.export import winner
from tuning.interrupt import Interrupt
from tuning.plan import Plan
from tuning.records import State, TrialRecord
from tuning.report import process as report
from tuning.run import Clock
from tuning.study import Study
from tuning.tracking.champion import Champion
from tuning.tracking.messages import Answer
from tuning.tracking.tracker import Tracker

INTERRUPTED = "interrupted"
"""Why a sweep was halted that was to end where it stood."""


@dataclass(slots=True)
class End:
    """What a sweep's parent run ends with, as far as it has come."""

    status: str = "FAILED"
    best: TrialRecord | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the best model on the test split, and hours."""
    report: Path | None = None
    champion: Champion | None = None


@contextmanager
def closed(
    tracker: Tracker, dispatcher: Dispatcher, progress: screen.Progress, asked: set[Ending]
) -> Iterator[End]:
    """Within, the sweep runs and comes to its end; then, whatever has happened, MLflow is closed.

    Raises:
        SweepError: when MLflow could not be written. Where an error is on its way, or the sweep was to end
            at once, that is said and no more: what MLflow lacks waits for the next command.
    """
    end, study = End(), dispatcher.study
    try:
        yield end
    except BaseException:
        answer = _close(end, tracker, dispatcher, progress)
        if answer.failure is not None:
            progress.say(answer.failure)
        raise
    answer = _close(end, tracker, dispatcher, progress)
    if end.champion is not None:
        winner.keep(answer, end.champion, study, progress.say)
    if answer.failure is not None:
        if not is_at_once(asked, study):
            raise SweepError(answer.failure)
        progress.say(answer.failure)


def _close(end: End, tracker: Tracker, dispatcher: Dispatcher, progress: screen.Progress) -> Answer:
    """Tell of the trials that nobody trains any more, then have MLflow written to the end.

    Among them are those whose end is in the study's memory alone, as where the disk did not take it.
    """
    study = dispatcher.study
    for number in sorted({*study.unfinished(), *dispatcher.unended}):
        for recorder in (tracker, progress):
            recorder.end(number, State.INTERRUPTED, None)
    confirmation = study.facts.confirmation()
    answer = tracker.close(end.status, end.best, end.metrics, end.report, end.champion, confirmation)
    progress.phase("")
    return answer


def fill(
    end: End,
    planned: Plan,
    dispatcher: Dispatcher,
    progress: screen.Progress,
    asked: set[Ending],
    interrupt: Interrupt,
    clock: Clock,
) -> None:
    """Save what is left, then tell `end` what the sweep has come to.

    Raises:
        SweepError: when the best model cannot be measured; `end` holds all but that.
    """
    study = dispatcher.study
    progress.phase("saving")
    _save(dispatcher, planned.splits)
    told = [trial for trial in study.trials() if trial.number not in dispatcher.unended]
    end.best = best_of(told, study.mode, study.facts.confirmation())
    spent = cost(
        study.spec, study.trials(), ledger.sizing_of(study.spec, planned.paths), study.facts.epoch_s()
    )
    end.metrics |= spent.to_plain() if spent else {}
    if end.best is not None:
        end.metrics |= study.facts.test(end.best.number) or study.facts.outdated_test()
    if not is_at_once(asked, study):
        try:
            end.metrics |= _measure_best(planned, dispatcher, end.best, interrupt)
            with interrupt.at_once(press=1):
                _show(end, planned, dispatcher, progress, clock)
        except KeyboardInterrupt:
            end.champion = None  # all that counts is written; the next command of this sweep makes them
    end.status = _status(ending(asked, study), dispatcher)


def is_at_once(asked: set[Ending], study: Study) -> bool:
    """Whether trials were to end where they stood."""
    found = ending(asked, study)
    return found is not None and found.is_at_once


def ending(asked: set[Ending], study: Study) -> Ending | None:
    """Return what ended a sweep before its total; a stop that came after the last trial had begun did not."""
    if asked == {Ending.STOPPED} and study.num_ended() >= study.spec.trials:
        return None
    return next((one for one in Ending if one in asked), None)


def _save(dispatcher: Dispatcher, splits: Splits) -> None:
    """Write what unfinished trials have come to; where the disk is full, their resume states hold it.

    Where a fault has halted the sweep they stay: the study in memory may know of ends that its file does not.
    """
    try:
        unfinished.save_best(dispatcher.study, dispatcher.folder, splits)
        if dispatcher.halted in (None, INTERRUPTED):
            unfinished.clear(dispatcher.study, dispatcher.folder)
    except OSError as error:
        dispatcher.halted = dispatcher.halted or f"{dispatcher.folder} cannot be written: {error}"


def _measure_best(
    planned: Plan, dispatcher: Dispatcher, best: TrialRecord | None, interrupt: Interrupt
) -> dict[str, float]:
    """Measure the best model on the test split, once per winner.

    Raises:
        SweepError: when that fails, as the test split of a user's data may in any way.
        KeyboardInterrupt: on Ctrl-C.
    """
    if best is None:
        return {}
    known = dispatcher.study.facts.test(best.number)
    if known is not None:
        return known
    try:
        with interrupt.at_once(press=1):
            path = paths.checkpoint_file(dispatcher.folder, best.number)
            loaded = reuse.load_of_sweep(path, planned.spec, best.number)
            metrics = reuse.measure(loaded, "test", planned.splits)
    except Exception as error:  # the user's data and model may raise anything
        raise SweepError(
            f"The best model (trial {best.number}) could not be measured on the test split: "
            f"{type(error).__name__}: {last_line(error)}. "  # a loader's worker sends a whole traceback
            "All trials are kept; mend it and run the same command again."
        ) from error
    dispatcher.study.facts.set_test(best.number, metrics)
    return metrics


def _show(end: End, planned: Plan, dispatcher: Dispatcher, progress: screen.Progress, clock: Clock) -> None:
    """Make the report, and of the best model what the registry takes."""
    sweep = ledger.sweep_of(dispatcher.study, planned.paths, driver=None)
    with report.written_beside(replace(sweep, wall_s=sweep.wall_s + clock.elapsed_s())) as written:
        end.champion = _champion(end.best, dispatcher, planned, progress)
        end.report = written()


def _champion(
    best: TrialRecord | None, dispatcher: Dispatcher, planned: Plan, progress: screen.Progress
) -> Champion | None:
    """Return the best model as it is to be registered; None where it is not."""
    study = dispatcher.study
    is_whole = _status(None, dispatcher) == "FINISHED"
    if best is None or not is_whole or study.facts.is_champion(best.number):
        return None
    stays = winner.challenger(study, best, planned.paths.command("confirm"))
    if stays is not None:
        progress.say(stays)
        return None
    progress.phase("registering the best model")
    return winner.candidate(study, dispatcher.folder, best, progress.say)


def _status(ending: Ending | None, dispatcher: Dispatcher) -> str:
    """Return the parent run's status in MLflow."""
    if ending is not None and ending.is_at_once:
        return "KILLED"
    is_whole = not dispatcher.halted and records.has_completed(dispatcher.study.trials())
    return "FINISHED" if is_whole else "FAILED"
