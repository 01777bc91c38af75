"""What a confirmation found, as plain data and as text."""

import math
from collections.abc import Sequence
from typing import Any

from tuning.confirmed import Confirmation, Confirmed, facts_of, interval_in_words
from tuning.trust.verdict import is_typical

SEEDS = "The mean is over seeds, each at the epoch that the validation split chose: so it flatters, too."

NO_SPREAD = 'An interval is "-" where the seeds came to a single figure: more of them (--seeds) tell one.'

HELD_OUT = (
    "The test split has chosen nothing. Flattered: by how much the search's figure is better than what it "
    "says, which may also be less than nothing."
)


def facts(sweep: str, found: Confirmation) -> dict[str, Any]:
    return {
        "sweep": sweep,
        "metric": found.metric,
        "mode": found.mode,
        "seeds": found.seeds,
        "holds": found.holds,
        "verdict": found.verdict,
        "winner": found.winner,
        "best": found.best.trial,
        "hopeless": list(found.hopeless),
        "trials": [{**facts_of(found, one), "typical": is_typical(one)} for one in found.trials],
    }


def text(sweep: str, found: Confirmation) -> str:
    columns, held_out = _columns(found), found.trials[0].held_out
    head = "  ".join(f"{name:>{width}}" for name, width in columns)
    lines = [
        f"confirm     {_count(found)} of {sweep} by {found.metric}, {found.seeds} seeds each",
        "",
        head,
        *(_row(found, one, columns) for one in found.trials),
        "",
        f"winner      {_winner(found)}",
        f"verdict     {_verdict(found)}",
        f"best        trial {found.best.trial}, by its mean{_chance(found)}; `tuning best` and `load_best` "
        "take it now",
        "",
        SEEDS,
        *([HELD_OUT] if held_out else []),
        *([NO_SPREAD] if any(one.low is None for one in found.trials) else []),
        "All seeds were shown the rows in one order: what another order changes, the intervals leave out.",
    ]
    return "\n".join(lines)


def _columns(found: Confirmation) -> list[tuple[str, int]]:
    """Return names and widths: the validation split's figures, the test split's, by how much they differ."""
    held_out = found.trials[0].held_out
    columns = [("trial", 5), ("searched", 10), ("mean", 10), ("95 % interval", 22)]
    if held_out is not None:
        columns += [(held_out.metric, 13), ("95 % interval", 22)]
    return [*columns, ("flattered", 10)]


def _row(found: Confirmation, one: Confirmed, columns: Sequence[tuple[str, int]]) -> str:
    cells = [str(one.trial), f"{one.searched:.5g}", f"{one.mean:.5g}", interval_in_words(one)]
    if one.held_out is not None:
        cells += [f"{one.held_out.mean:.5g}", interval_in_words(one.held_out)]
    cells.append(f"{one.flattered(found.mode):.3g}")
    row = "  ".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, columns, strict=True))
    return row + (f"  diverged with {one.diverged} of {found.seeds} seeds" if one.diverged else "")


def _count(found: Confirmation) -> str:
    count = len(found.trials) + len(found.hopeless)
    return f"{count} trial{'' if count == 1 else 's'}"


def _verdict(found: Confirmation) -> str:
    if not found.holds:
        return f"does NOT hold: {found.verdict}"
    is_compared = len(found.trials) + len(found.hopeless) > 1
    return f"{'holds' if is_compared else 'not compared'}: {found.verdict}"


def _chance(found: Confirmation) -> str:
    """Return why the claim may hold and another trial be the best by its mean."""
    is_other = found.holds and found.best.trial != found.winner
    return f", the likeliest though not shown to be better than trial {found.winner}" if is_other else ""


def _winner(found: Confirmation) -> str:
    winner = found.of(found.winner)
    if winner is None:
        return f"trial {found.winner}: diverged with every fresh seed"
    said = (
        f"trial {winner.trial}: the search's {winner.searched:.5g} is {_beside(found, winner, winner.mean)} "
    )
    said += f"the mean {winner.mean:.5g} of fresh seeds"
    if is_typical(winner) is False:
        said += " (unusually far: 19 of 20 further seeds would lie nearer)"
    if winner.held_out is None:
        return said
    held = winner.held_out
    return f"{said}\n            held out: {_beside(found, winner, held.mean)} {held.metric} {held.mean:.5g}"


def _beside(found: Confirmation, one: Confirmed, mean: float) -> str:
    """Return in words by how much the search's figure is better than a mean."""
    if math.isclose(one.searched, mean, rel_tol=1e-9):  # but for rounding
        return "as good as"
    by = one.searched - mean if found.mode == "max" else mean - one.searched
    return f"{abs(by):.3g} {'better' if by > 0 else 'worse'} than"
