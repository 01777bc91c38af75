"""What a confirmation found, as plain data and as text."""

from typing import Any

from tuning.confirmed import Confirmation, Confirmed, facts_of
from tuning.trust.verdict import is_typical


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
    keys = list(found.trials[0].test_means)
    columns = ("trial", 5), ("searched", 10), ("mean", 10), ("95 % interval", 22), ("flattered", 10)
    head = "  ".join(f"{name:>{width}}" for name, width in (*columns, *((key, 13) for key in keys)))
    lines = [
        f"confirm     {_count(found)} of {sweep} by {found.metric}, {found.seeds} seeds each",
        "",
        head,
        *(_row(found, one, keys) for one in found.trials),
        "",
        f"winner      {_winner(found)}",
        f"verdict     {'holds' if found.holds else 'does NOT hold'}: {found.verdict}",
        f"best        trial {found.best.trial}, by its mean{_chance(found)}: `tuning best` and `load_best` "
        "prefer it now",
        "            (all were shown their rows in one order: what another changes is not in the intervals)",
    ]
    return "\n".join(lines)


def _row(found: Confirmation, one: Confirmed, keys: list[str]) -> str:
    interval = f"{one.low:.5g} to {one.high:.5g}"
    row = f"{one.trial:>5}  {one.searched:>10.5g}  {one.mean:>10.5g}  {interval:>22}"
    row += f"  {one.flattered(found.mode):>10.3g}" + "".join(
        f"  {one.test_means[key]:>13.5g}" for key in keys
    )
    return row + (f"  diverged with {one.diverged} of {found.seeds} seeds" if one.diverged else "")


def _count(found: Confirmation) -> str:
    count = len(found.trials) + len(found.hopeless)
    return f"{count} trial{'' if count == 1 else 's'}"


def _chance(found: Confirmation) -> str:
    """Return that the claim may hold and another trial be the best by its mean."""
    is_other = found.holds and found.best.trial != found.winner
    return f" (better than trial {found.winner}'s, be it by chance)" if is_other else ""


def _winner(found: Confirmation) -> str:
    winner = found.of(found.winner)
    if winner is None:
        return f"trial {found.winner}: diverged with every fresh seed"
    by = winner.flattered(found.mode)
    how = f"{abs(by):.3g} {'better' if by > 0 else 'worse'} than" if by else "as good as"
    said = f"trial {winner.trial}: the search's {winner.searched:.5g} is {how} the mean {winner.mean:.5g}"
    return said if is_typical(winner) else f"{said}, where 19 of 20 further seeds would lie nearer"
