"""What a worker does with a cohort: train, save its state each epoch, report, save the best."""

import contextlib
import gc
import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch

from tuning import faults, paths, storage
from tuning.data import Splits
from tuning.engine import checkpoint, cohort, failures
from tuning.engine.solo import Outcome, Training
from tuning.errors import SweepError, traced
from tuning.records import Cohort, EpochReport, State
from tuning.schedule.messages import Message
from tuning.schedule.outbox import Outbox, report_interval_s, send
from tuning.schedule.saving import Saver, resume_states, storing
from tuning.schedule.watchdog import Watchdog, each, fed, watched
from tuning.schedule.work import Work
from tuning.schedule.worker import (
    failed,
    is_open,
    load_splits,
    measure,
    pass_gate,
    prepare_process,
    up_at,
    wait_for_cohorts,
)

COMPILING_S = 300.0
"""What an epoch may take beyond `--trial-timeout` where up to four steps are compiled on the way."""


def run_cohort(config: dict[str, Any], *, work: Work) -> None:
    """Tune's function trainable: trains the cohort of one opaque string, or measures cohort sizes.

    What goes wrong here, but for the death of the process, is not retried: it would go wrong again.
    What is wrong with a model or with data ends trials, what is wrong with storage ends the sweep.
    Memory that does not suffice for a cohort may do for its halves.
    """
    task = Cohort.from_json(config["cohort"]) if "cohort" in config else None
    begin_s, out_of_memory = time.time(), False
    try:
        work.check_versions()
        device = prepare_process(work.spec)
        with _watched(work, task):
            splits = load_splits(str(work.spec.data), work.spec.seed, work.data, work.num_outputs)
        pass_gate(work.gate, work.workers)
        up_at()
        work.check_data(splits)
        if task is None and not is_open(work.gate):  # else it came late, and the sizes are known
            with _watched(work, task) as watchdog:
                found = measure(work.spec, splits, device, fed(config["sizes"], watchdog), work.workers)
            send(Message(probe=found))
            wait_for_cohorts(work.gate)
        elif task is not None:
            _train(task, work, splits, device, begin_s)
    except SweepError as error:
        send(Message(fault=str(error)))
    except Exception as error:  # of a model, of data: told, so that the worker lives on
        out_of_memory = failures.is_out_of_memory(error) and task is not None and len(task.members) > 1
        if task is None:
            send(Message(probe=failed(error)))
        elif isinstance(error, failures.RankDied):
            os._exit(1)  # as if the kernel had killed this process, too: the trial runs again
        elif failures.is_device_lost(error):
            _leave(work, task, traced(error))
        elif not out_of_memory:
            send(Message(cohort=task.id, begin_s=begin_s, reports=_failed(task, traced(error))))
    if out_of_memory:  # here the exception, which held the tensors, is gone
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        send(Message(out_of_memory=True))


def _failed(task: Cohort, error: str) -> list[EpochReport]:
    return [
        EpochReport(trial=number, epoch=task.epoch + 1, metrics={}, state=State.FAILED, error=error)
        for number in task.numbers
    ]


def _leave(work: Work, task: Cohort, words: str) -> None:
    """End this process, and leave word why: the driver finds which trial of the cohort is the cause."""
    try:
        _say_last(work, task, words)
    finally:
        os._exit(1)  # not sys.exit: that would wait for threads, one of which may hang


def _say_last(work: Work, task: Cohort, words: str) -> None:
    storage.write(paths.last_words_file(work.folder, task.id), words.encode(), partial(work.check, task))


def _train(task: Cohort, work: Work, splits: Splits, device: torch.device, begin_s: float) -> None:
    """Train a cohort, saving its state each epoch, and report; save each trial's best when it ends.

    Before the driver hears of an end: what it is told of exists.
    """
    spec, states = work.spec, resume_states(task, work)
    outbox = Outbox(task.id, begin_s, _missed(task, states), device, report_interval_s(work.workers))
    faults.place("before-first-report")
    saver, check = Saver(task, work), partial(work.check, task)
    trials = {member.trial.number: member.trial for member in task.members}

    def save_best(numbers: Iterable[int]) -> None:
        for number in numbers:
            outcome = _outcome(number, last, states)
            if outcome is not None:
                with storing(work.folder):
                    checkpoint.save_best(work.folder, outcome, trials[number], spec, splits, check)
        with storing(work.folder):
            storage.sync(paths.checkpoint_folder(work.folder))  # the study's own file is synced, too

    last: cohort.Epoch | None = None
    ended: set[int] = set()
    epochs = cohort.train(task, spec, splits, device=device, resume=states)
    with contextlib.closing(epochs), _watched(work, task) as watchdog:
        for last in each(epochs, watchdog):
            epoch = last.reports[-1].epoch
            new = {report.trial for report in last.reports if report.state is not State.RUNNING}
            if new:  # told before a resume state without them takes the place of one that has them
                save_best(new)
                outbox.put(last, new)
            ended |= new
            going_on = [number for number in task.numbers if number not in ended]
            may_go_on = bool(going_on) and epoch < (spec.epochs or 0)
            if new:
                if may_go_on:
                    saver.save_ahead(last, going_on)  # the driver may end the cohort when it hears of `new`
                outbox.flush()
            if may_go_on:
                saver.save(last, going_on, at_once=epoch >= task.until)
            outbox.put(last, going_on)
            if epoch < task.until:
                outbox.flush_now_and_then()
    save_best(number for number in task.numbers if number not in ended)
    outbox.flush()


def _watched(work: Work, task: Cohort | None) -> AbstractContextManager[Watchdog | None]:
    """Within, this process ends when it works longer than the sweep's `trial_timeout` on one thing."""
    limit = work.spec.trial_timeout
    compiling_s = COMPILING_S if work.spec.compile else 0.0

    def tell(stack: str) -> None:
        more = f" and {compiling_s:g} s more, to compile" if compiling_s else ""
        if task is not None:
            _say_last(work, task, f"It hung here:\n{stack}no report within --trial-timeout {limit:g} s{more}")

    return watched(None if limit is None else limit + compiling_s, tell)


def _outcome(number: int, last: cohort.Epoch | None, states: dict[int, dict[str, Any]]) -> Outcome | None:
    """Return how far a member has come after the last epoch; if none was left, by the resume file."""
    if last is not None:
        return last.outcome(number)
    return Training(**states[number]) if number in states else None


def _missed(task: Cohort, states: dict[int, dict[str, Any]]) -> list[EpochReport]:
    """Return what an earlier attempt at this cohort trained but may not have reported."""
    return [
        EpochReport(trial=number, epoch=epoch, metrics=metrics)
        for number, state in states.items()
        for epoch, metrics in enumerate(state["history"], start=1)
        if epoch > task.epoch
    ]
