"""Which trials at the same epoch form the next cohort. Pure."""

from collections.abc import Sequence

from tuning.records import Member


def pack(waiting: Sequence[Member], size: int, *, more_fresh: bool) -> tuple[Member, ...]:
    """Return the members of the next cohort, at most `size`, all of one epoch; empty: none now.

    The group that is furthest goes first, so that trials end before others begin. A group that
    does not fill a cohort waits while fresh trials (`more_fresh`) can keep the workers busy.
    """
    groups: dict[int, list[Member]] = {}
    for member in waiting:
        groups.setdefault(member.epoch, []).append(member)
    for epoch in sorted(groups, reverse=True):
        if len(groups[epoch]) >= size or not more_fresh:
            return tuple(groups[epoch][:size])
    return ()
