"""A report made of a sweep, and written."""

import json
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from tuning import paths, storage
from tuning.errors import RequestError
from tuning.ledger import Sweep
from tuning.report.curves import curves
from tuning.report.history import history, hours
from tuning.report.importances import importances
from tuning.report.page import page
from tuning.report.panel import Panel
from tuning.report.parameters import parallel, slices
from tuning.report.rungs import rungs
from tuning.report.timeline import timeline
from tuning.report.view import View, view

PANELS: tuple[Callable[[View], Panel], ...] = (
    history,
    curves,
    parallel,
    importances,
    slices,
    rungs,
    timeline,
    hours,
)
"""In the order in which they stand on the page."""

PACKAGES = ("torch", "ray", "optuna", "mlflow", "plotly")


def render(sweep: Sweep, *, made_at_s: float, versions: Mapping[str, str]) -> str:
    """Return the report of a sweep as HTML.

    Args:
        made_at_s: seconds of the wall clock, which the page says.
        versions: by name, of what the sweep was run with.
    """
    seen = view(sweep)
    return page(seen, [panel(seen) for panel in PANELS], _facts(sweep, made_at_s, versions))


def write(sweep: Sweep, to: Path | None = None) -> Path:
    """Write the report of a sweep, by default into its folder; return the file.

    Raises:
        RequestError: when the file cannot be written.
    """
    file = sweep.paths.report if to is None else to
    storage.check_target(file)
    text = render(sweep, made_at_s=time.time(), versions=versions_of(sweep))
    storage.deliver(file, text.encode("utf-8", errors="replace"))
    return file


def versions_of(sweep: Sweep) -> dict[str, str]:
    """Return the versions here, and over them those that the best trial's checkpoint was trained with."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, **(_trained_with(sweep) if sweep.best is not None else {})}


def _trained_with(sweep: Sweep) -> dict[str, str]:
    assert sweep.best is not None
    try:
        card = json.loads(storage.read(paths.card_file(sweep.folder, sweep.best.number)))
        return {str(key): str(value) for key, value in card["versions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RequestError):  # gone, or another's
        return {}


def _facts(sweep: Sweep, made_at_s: float, versions: Mapping[str, str]) -> dict[str, str]:
    spec = sweep.spec
    facts = {
        "seed": str(spec.seed),
        "data": str(spec.data),
        "data fingerprint": sweep.fingerprint or "not known: the data has not been read yet",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "sweep id": str(spec.id),
        "cohort": sweep.sizing.describe(),
        "cost": sweep.cost.describe() if sweep.cost else "nothing yet",
        "wall time": f"{sweep.wall_s:,.0f} s",
        "notes": "; ".join(sweep.notes),
        "made": f"{datetime.fromtimestamp(made_at_s, UTC):%Y-%m-%d %H:%M:%S} UTC",
    }
    return {key: value for key, value in facts.items() if value}
