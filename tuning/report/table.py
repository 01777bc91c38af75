"""The table of trials, as plain data for the page's script."""

import math
from collections.abc import Sequence
from typing import Any

from tuning.errors import last_line
from tuning.records import TrialRecord
from tuning.report.view import View

ROWS = 10_000
"""Trials in the table, at most."""

BYTES = 2_200_000
"""The table as the page holds it, about; where trials have very many hyperparameters, it has fewer rows."""

TEXT = 200
"""Characters of a cell."""

Cell = str | int | float | bool | None


def table(view: View, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return `columns` and `rows`, of plain values."""
    columns = [
        "trial",
        "state",
        view.metric,
        "best epoch",
        "epochs",
        *view.varied,
        "seconds",
        "where",
        "cause",
    ]
    return {"columns": columns, "rows": [_row(view, trial) for trial in trials]}


def _row(view: View, trial: TrialRecord) -> list[Cell]:
    return [
        trial.number,
        trial.state.value,
        _cell(trial.value),
        trial.epoch,
        max(trial.values, default=0),
        *(_cell(trial.hyperparameters.get(key)) for key in view.varied),
        round(sum(span.end_s - span.begin_s for span in trial.spans), 2) if trial.spans else None,
        _cell(trial.where),
        _cell(last_line(trial.cause) or None),
    ]


def _cell(value: Any) -> Cell:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int) else str(value)[:TEXT]
