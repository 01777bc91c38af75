"""What a replay found, as plain data and as text."""

import math
from typing import Any

from tuning.engine.replay import Stretch
from tuning.trust.comparison import TOLERANCE, Metrics, Row
from tuning.trust.replay import Replay

MOST = 40
"""Epochs that are shown as text, those that differ before others."""


def facts(found: Replay) -> dict[str, Any]:
    """Return what there is to say, as plain data; JSON has no NaN and no infinity, null stands for them."""
    comparison, weights = found.comparison, found.comparison.weights
    return {
        "sweep": found.sweep.spec.name,
        "trial": found.trial.number,
        "state": found.trial.state.value,
        "holds": comparison.holds,
        "equal_bits": comparison.is_equal,
        "standard": "bits" if comparison.exactly else f"within {TOLERANCE:g} relative",
        "why": list(comparison.loosely),
        "contradictions": list(comparison.others),
        "warning": found.doubt,
        "device": found.device,
        "course": [[one.first, one.last, one.slot, one.width] for one in found.course],
        "epochs": [
            {
                "epoch": row.epoch,
                "recorded": _finite(row.recorded),
                "replayed": _finite(row.replayed),
                "study": row.told,
                "equal": row.is_equal,
            }
            for row in comparison.rows
        ],
        "weights": None
        if weights is None
        else {
            "epoch": weights.epoch,
            "equal": weights.is_equal,
            "distance": weights.distance if math.isfinite(weights.distance) else None,
        },
    }


def _finite(metrics: Metrics | None) -> dict[str, float | None] | None:
    if metrics is None:
        return None
    return {key: value if math.isfinite(value) else None for key, value in metrics.items()}


def text(found: Replay) -> str:
    comparison, metric = found.comparison, str(found.sweep.spec.metric)
    courses = "; ".join(map(_stretch, found.course))
    lines = [
        f"replay      trial {found.trial.number} of {found.sweep.spec.name} ({found.trial.state}): {courses}",
        f"on          {found.device}",
        f"standard    {_standard(found)}",
        *(f"            {why}" for why in comparison.loosely),
        *([f"warning     {found.doubt}"] if found.doubt else []),
        "",
        f"{'epoch':>5}  {'recorded ' + metric:>22}  {'replayed':>22}  equal",
        *map(_row, _shown(comparison.rows)),
    ]
    if (left := len(comparison.rows) - MOST) > 0:
        lines.append(f"       ... and {left} more epochs (--json has all)")
    lines += ["", f"weights     {_weights(found)}", *(f"record      {one}" for one in comparison.others)]
    return "\n".join([*lines, f"verdict     {_verdict(found)}"])


def _stretch(one: Stretch) -> str:
    epochs = f"epoch {one.first}" if one.first == one.last else f"epochs {one.first} to {one.last}"
    return f"{epochs} {'alone' if one.width == 1 else f'as row {one.slot + 1} of a stack of {one.width}'}"


def _standard(found: Replay) -> str:
    if found.comparison.exactly:
        return "equal to the last bit: the same kind of device, threads and versions"
    return f"equal within {TOLERANCE:.0%}, since rounding may differ:"


def _shown(rows: Any) -> list[Row]:
    """Return the epochs to show: those that differ, then the first ones."""
    first = sorted(rows, key=lambda row: (row.is_equal, row.epoch))[:MOST]
    return sorted(first, key=lambda row: row.epoch)


def _row(row: Row) -> str:
    again = "-" if row.replayed is None else repr(row.replayed.get(row.metric))
    mark = "yes" if row.is_equal else "NO"
    line = f"{row.epoch:>5}  {row.recorded.get(row.metric)!r:>22}  {again:>22}  {mark}"
    return line if row.is_equal else f"{line}{_differing(row)}"


def _differing(row: Row) -> str:
    """Return what else differs than the metric that is shown."""
    others = [
        f"{key} {value!r} / {(row.replayed or {}).get(key)!r}"
        for key, value in row.recorded.items()
        if key != row.metric and row.replayed is not None and repr(value) != repr(row.replayed.get(key))
    ]
    if row.told is not None and repr(row.told) != repr(row.recorded.get(row.metric)):
        others.append(f"the study has {row.told!r}")
    return f"  ({'; '.join(others)})" if others else ""


def _weights(found: Replay) -> str:
    weights = found.comparison.weights
    if weights is None:
        return "of the best epoch: the training did not come to it again"
    same = "equal to the last bit" if weights.is_equal else f"differ by {weights.distance:.3g} of their norm"
    return f"of epoch {weights.epoch}: {same}"


def _verdict(found: Replay) -> str:
    comparison, number = found.comparison, found.trial.number
    if comparison.holds:
        how = "to the last bit" if comparison.is_equal else f"within {TOLERANCE:.0%}"
        return f"holds: trial {number} trains again as it is recorded, {how}"
    parts = (
        [f"{len(comparison.differing)} of {len(comparison.rows)} epochs differ"]
        if comparison.differing
        else []
    )
    if comparison.weights is None or not comparison.weights.holds(exactly=comparison.exactly):
        parts.append("the best weights differ")
    return f"does NOT hold: {', '.join([*parts, *comparison.others])}"
