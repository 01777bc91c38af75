"""MLflow repaired: what was deleted restored, what is too much deleted, what lacks written."""

import queue
from typing import Any

from tuning.records import State
from tuning.tracking import known
from tuning.tracking.client import connect
from tuning.tracking.inventory import Inventory, number_of
from tuning.tracking.known import Known
from tuning.tracking.messages import Close, Job, News
from tuning.tracking.pending import Run
from tuning.tracking.spool import Spool
from tuning.tracking.writer import Writer


def revive(held: Inventory) -> bool:
    """Restore the sweep's experiment or its parent run, if that was deleted; return whether it was."""
    if held.is_deleted:
        held.client.restore_experiment(held.experiment_id)
        return True
    parents = [run for run in held.deleted if run.data.tags.get("tuning.kind") == "sweep"]
    if held.parents or not parents:
        return False
    held.client.restore_run(max(parents, key=lambda run: run.info.start_time).info.run_id)
    return True


def settle_parent(job: Job, held: Inventory | None) -> Known:
    """See that there is one parent run, and that each other run says whose it is."""
    if held is not None:
        hung = [run.data.tags.get("mlflow.parentRunId") for runs in held.children.values() for run in runs]
        kept = sorted(held.parents, key=lambda run: -hung.count(run.info.run_id))
        delete(held, [*kept[1:], *held.nameless])
        for runs in held.children.values():
            for run in runs:
                if not run.data.tags.get("tuning.trial", "").isdecimal():
                    tag(held, run, {"tuning.trial": str(number_of(run))})
    client = connect(job.uri) if held is None else held.client
    return known.read(client, job.spec, job.experiment, job.uri, job.home)


def delete(held: Inventory, runs: list[Any]) -> None:
    """Delete runs as the UI does: it can restore them."""
    for run in runs:
        held.client.delete_run(run.info.run_id)


def tag(held: Inventory, run: Any, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        if run.data.tags.get(key) != value:
            held.client.set_tag(run.info.run_id, key, value)


def write(job: Job, close: Close) -> None:
    """Have the writer write what MLflow lacks of the job's trials, and what waits in the spool.

    The last word of the spool is how each trial stands: an unfinished one as a driver leaves it that was
    interrupted, an ended one as the study has it, whatever older records say.
    """
    spool = Spool(job.paths.spool)
    spool.remove(damaged(spool))  # what they held, study and cards tell as far as they know it
    trials = [trial for trial, _ in job.earlier.values()]
    ends = {t.number: Run(state=t.state if t.state.has_ended else State.INTERRUPTED) for t in trials}
    if ends:
        spool.put(ends)
    news: queue.SimpleQueue[News] = queue.SimpleQueue()
    news.put(close)
    Writer(job).run(news)


def spooled(spool: Spool) -> set[int]:
    """Return the trials of which something waits to be written."""
    return {number for name in set(spool.names()) - set(damaged(spool)) for number in spool.read(name)}


def damaged(spool: Spool) -> list[str]:
    return [name for name in spool.names() if not _can_be_read(spool, name)]


def _can_be_read(spool: Spool, name: str) -> bool:
    try:
        spool.read(name)
    except ValueError:
        return False
    return True
