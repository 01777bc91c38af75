"""What a sweep settles before its first trial: id, share of the cluster, study, cohort size."""

import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tuning import halving, notation, paths, plan, references, remains, sizing, storage
from tuning.dispatch import Dispatcher
from tuning.errors import RequestError
from tuning.plan import Plan
from tuning.spec import Resources, SweepSpec
from tuning.study import Study

if TYPE_CHECKING:
    from tuning.schedule.connection import Cluster, Node
    from tuning.schedule.probing import Probe


def checked_nodes(planned: Plan, cluster: "Cluster") -> "Sequence[Node]":
    """Return the nodes that a sweep may count on; refuse a sweep of which they hold no worker.

    A local one is still on its way up, but what it will have is known.

    Raises:
        RequestError: also when another host has other versions than this one, or another storage.
    """
    from tuning.schedule import resources

    spec = planned.spec
    if spec.address or cluster.is_up:
        _check_others(planned, cluster.nodes())
        nodes = resources.expected_nodes()
    else:
        nodes = [resources.local_node()]
    resources.share(spec, nodes)
    return nodes


def _check_others(planned: Plan, living: "Sequence[Node]") -> None:
    """Ask the other hosts that may hold workers, before anything is written."""
    from tuning.schedule import survey

    others = {node.host for node in living if node.cpus or node.gpus} - {socket.gethostname()}
    if not others:
        return
    found = survey.survey(planned.spec.storage or str(planned.paths.home), others)
    faults = survey.faults([node for node in found if node.error is None])  # who says nothing may be leaving
    if faults:
        ways = "Make them alike, name a storage that all see (--storage), or leave that node out."
        raise RequestError(" ".join([*faults, ways]))


def share_of(
    planned: Plan,
    spec: SweepSpec,
    nodes: "Sequence[Node]",
    cluster: "Cluster",
    say: Callable[[str], None],
) -> tuple[Resources, int]:
    """Return a worker's share of the cluster, measured if need be, and how many workers there may be."""
    from tuning.schedule import resources, sharing

    where = planned.paths
    kept = sizing.Sizing.load(where.sizing)
    living = cluster.nodes() if cluster.is_up else nodes
    if sharing.is_open(spec, living, kept):
        found = sharing.measure_shares(spec, planned.splits, cluster.nodes(), say)
        if found is not None:
            kept = found
            kept.keep(where.sizing)
    return resources.share(sharing.with_share(spec, kept), nodes)


def make_home(where: paths.SweepPaths) -> None:
    try:
        where.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(where.folder, os.W_OK):
            raise PermissionError(where.folder)
    except OSError as error:
        raise plan.unwritable(where.home) from error


def settle_spec(spec: SweepSpec, where: paths.SweepPaths) -> SweepSpec:
    """Give a new sweep its id, and keep its spec in the sweep's folder; return that of one that exists.

    Holding the claim, look again whether it is new: of two commands that start at once, one waits here.
    """
    spec = plan.as_it_was(spec, where)
    if spec.id is not None:
        return spec  # what of it may change is kept once nothing stands against going on
    spec = replace(spec, id=str(uuid.uuid4()))
    keep_spec(spec, where)
    return spec


def keep_spec(spec: SweepSpec, where: paths.SweepPaths) -> None:
    storage.write(str(where.spec), notation.dump(replace(spec, home=None)).encode())


def open_study(planned: Plan) -> Study:
    """Open the study; refuse to go on with data or a model that is not what its trials were trained with.

    Its `spec` has the total that counts: what is asked for, but never less than the trials that there are.

    Raises:
        SweepError: when it has no trial, but checkpoints or resume states are there.
    """
    journal = planned.paths.journal
    if not journal.exists() or not journal.stat().st_size:
        remains.refuse(planned.paths)
    study = Study(planned.spec, journal, write=True)
    if not study.trials():
        remains.refuse(planned.paths)
    fingerprint = planned.splits.fingerprint
    if study.facts.fingerprint() not in (None, fingerprint):
        raise RequestError(
            f"Data {planned.spec.data!r} must be what the sweep {planned.paths.name!r} began with, but its "
            "fingerprint differs: it was changed, or it is drawn without a fixed seed. Use another --name."
        )
    _check_model(study, planned)
    with study.batch():
        study.facts.set_fingerprint(fingerprint)
        study.facts.set_model(planned.fitted.fingerprint)
    study.spec = replace(study.spec, trials=max(planned.spec.trials, len(study.trials())))
    if study.earlier is None:  # at the beginning, or where a driver died in it
        found = planned.earlier or plan.look_at_earlier(planned.spec, planned.paths)
        if found is not None:
            study.begin_from(found)
    first = study.earlier.first if study.earlier is not None else ()
    study.enqueue((*planned.spec.try_, *first))
    return study


def _check_model(study: Study, planned: Plan) -> None:
    """Refuse a model of which what it holds has changed since trials were trained."""
    if study.facts.model() not in (None, planned.fitted.fingerprint) and study.values():
        raise RequestError(
            f"Model {planned.spec.model!r} must be what the sweep {planned.paths.name!r} began with, but "
            "names or shapes of its parameters have changed: its trials could not be compared. Put it back "
            "as it was, or give the changed one another --name."
        )


def source_doubt(study: Study, planned: Plan) -> str | None:
    """Return a warning where the user's own model is written otherwise than when trials were trained."""
    found = references.source_hash(planned.spec.model)
    doubt = references.source_doubt(planned.spec.model, found, study.facts.source())
    if found is not None:
        study.facts.set_source(found)
    return doubt if study.values() else None


def begin_drive(study: Study, nodes: "Sequence[Node]", most_workers: int) -> None:
    """Keep that trials are trained from now on, and by how many GPUs and workers at most.

    Args:
        nodes: that live: of an autoscaler's some may never come.
    """
    from tuning.schedule import resources

    spec = study.spec
    gpus: Counter[str] = Counter()
    for node in nodes if spec.resources.gpus else ():
        gpus[node.host] += int(node.gpus)
    left = max(spec.trials - study.num_ended(), len(study.unfinished()))
    workers = min(most_workers, left, resources.count(spec.resources, nodes))
    study.facts.begin_drive(time.time(), +gpus, workers)


def settle_size(
    planned: Plan, dispatcher: Dispatcher, left: int, workers: int, say: Callable[[str], None]
) -> "Probe | None":
    """Give the dispatcher its cohort size for the trials that are left, or return what will measure it."""
    from tuning.schedule.probing import Probe

    spec, file = planned.spec, planned.paths.sizing
    kept = sizing.Sizing.load(file)

    def settle(found: sizing.Sizing) -> None:
        if spec.trial_timeout is not None:  # a limit for each trial, not for several in turn
            found = replace(found, in_turn=1)
        dispatcher.size, dispatcher.is_stacked = max(found.size, found.in_turn), found.in_turn == 1
        if found.measured or kept is None:
            replace(found, gpus=kept.gpus if kept is not None else found.gpus).keep(file)
        elif found.size != kept.size:  # what was measured is not forgotten for a few last trials
            dispatcher.study.facts.add_note(f"of the last {left} trials {found.describe()}")
        say(found.describe())

    known = sizing.without_measuring(spec.cohort, left, workers, kept, spec.ranks)
    if known is None:
        return Probe(
            sizing.wanted_sizes(left, workers),
            lambda found: settle(sizing.from_workers(found, left, workers, halving.first_share(spec))),
        )
    settle(known)
    return None
