"""Which workers a sweep had, when each trained, and when there was nobody to have it train."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tuning.records import Fleet, TrialRecord, ended

Interval = tuple[float, float]
"""Begin and end, in seconds of the wall clock."""

UNUSED_WORKER = "no trial came to"
"""Stands for the host of a worker that never trained."""

Place = tuple[str, int]
"""A host or GPU, and the worker on it, from 1."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """What each worker did."""

    of: Mapping[tuple[str, int], Place]
    """By (where, process): processes of which one follows the other are the same worker."""
    busy: Mapping[Place, Sequence[Interval]]
    """When it trained at least one trial, in order; of what never trained nothing."""
    driven: Sequence[Interval]
    """When the sweep had a driver, in order, from the first training to the last."""

    @property
    def driven_s(self) -> float:
        return _length_s(self.driven)

    @property
    def pauses(self) -> list[Interval]:
        """When the sweep had no driver, as between two commands: then nothing stands idle."""
        return [(end, begin) for (_, end), (begin, _) in itertools.pairwise(self.driven)]

    def share(self, place: Place) -> float:
        """Return the part of the whole time, pauses aside, for which a worker trained."""
        whole_s = self.driven_s
        return _length_s(self.busy[place]) / whole_s if whole_s > 0 else float(bool(self.busy[place]))


def lanes(trials: Iterable[TrialRecord], fleet: Fleet) -> Lanes:
    """Return which workers there were, and when they trained; also GPUs and workers that never did."""
    spans: dict[tuple[str, int], list[Interval]] = defaultdict(list)
    for trial in trials:
        for span in trial.spans:
            spans[span.where, span.process].append((span.begin_s, max(span.begin_s, span.end_s)))
    of: dict[tuple[str, int], Place] = {}
    busy: dict[Place, list[Interval]] = {}
    for process, found in sorted(spans.items(), key=lambda item: (item[0][0], min(item[1]))):
        merged = union(found)
        lane = 1
        while (process[0], lane) in busy and busy[process[0], lane][-1][1] > merged[0][0]:
            lane += 1
        of[process] = process[0], lane
        busy.setdefault(of[process], []).extend(merged)
    work = union(interval for found in busy.values() for interval in found)
    if work:
        busy |= {place: [] for place in _unused_gpus(busy, fleet)}
        busy |= {(UNUSED_WORKER, index): [] for index in range(1, fleet.workers - len(busy) + 1)}
    return Lanes(of, busy, union([*work, *_drives(work, fleet)]))


def _unused_gpus(places: Iterable[Place], fleet: Fleet) -> Iterator[Place]:
    """Yield a place for each GPU that no worker had: known is how many a host has, not their names."""
    used: dict[str, set[str]] = defaultdict(set)
    for where, _ in places:
        host, _, gpus = where.rpartition(", GPU ")
        used[host].update(gpus.split(","))
    for host, count in fleet.gpus.items():
        for index in range(count - len(used[host])):
            yield f"{host}, unused GPU", index + 1


def _drives(work: Sequence[Interval], fleet: Fleet) -> Iterator[Interval]:
    """Yield when drivers were at work while anything was still to come.

    One that died, or was of an earlier version, counts until a worker of it trained last.
    """
    if not work:
        return
    for begin, end in ended([(work[0][0], None), *fleet.drives], work):
        begin, end = max(begin, work[0][0]), min(end, work[-1][1])
        if begin < end:
            yield begin, end


def _length_s(intervals: Iterable[Interval]) -> float:
    return sum(end - begin for begin, end in intervals)


def union(intervals: Iterable[Interval], gap_s: float = 0.0) -> list[Interval]:
    """Return what intervals cover, in order; gaps that are no longer than `gap_s` count as covered."""
    found: list[Interval] = []
    for begin, end in sorted(intervals):
        if found and begin <= found[-1][1] + gap_s:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found
