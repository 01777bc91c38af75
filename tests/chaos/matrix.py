"""Who is killed at which moment: every pair, and why some cannot be."""

PLACES = {
    "before-first-report": 1,
    "mid-epoch": 12,
    "replace-resume": 1,
    "replace-checkpoints": 3,
    "mlflow-flush": 1,
    "between-study-and-mlflow": 3,
    "journal-locked": 9,
    "half-a-journal-line": 9,
    "before-end": 1,
}
"""How often a process has to come to a place before it stops there, so that there is something to lose."""

OFTENER = {("writer", "replace-resume"): 2}
"""Where it has to be oftener for a victim: the process that writes MLflow is started at the first report."""


def count(victim: str, place: str) -> int:
    return OFTENER.get((victim, place), PLACES[place])


MODES = {"alone": 1, "cohort": 3}
"""Trials that train together."""

SLOW_S = {"mlflow-flush": 12.0}
"""How long all training shall take at least, by place: MLflow takes some seconds to be imported."""

VICTIMS = ("worker", "only worker", "node", "raylet", "gcs", "driver", "writer", "mlflow server")
"""`worker`: one of two. `node`: one of two that train, with all that runs on it. `writer`: the driver's own
process that writes MLflow; `mlflow server`: the one that `--tracking-uri` names."""

ON_A_CLUSTER = {
    "driver on a cluster": ("mid-epoch", "replace-resume", "replace-checkpoints"),
    "gcs of a cluster": ("mid-epoch",),
}
"""On a cluster that the driver has not started workers live on without it, and the head without its Ray:
killed where a worker stands, since elsewhere nothing differs from the driver's own Ray."""

NOBODY_TRAINS = "after the last trial no worker is left: Tune has ended them"
IMPOSSIBLE = {
    ("worker", "before-end"): NOBODY_TRAINS,
    ("only worker", "before-end"): NOBODY_TRAINS,
    ("node", "before-end"): NOBODY_TRAINS,
    ("writer", "before-first-report"): "it is started at the first report",
}

PAIRS = [(victim, place) for victim in VICTIMS for place in PLACES if (victim, place) not in IMPOSSIBLE]
PAIRS += [(victim, place) for victim, places in ON_A_CLUSTER.items() for place in places]

SAMPLE = {
    ("worker", "mid-epoch", "cohort"),
    ("only worker", "replace-checkpoints", "alone"),
    ("node", "mid-epoch", "alone"),
    ("raylet", "mid-epoch", "cohort"),
    ("gcs", "mid-epoch", "alone"),
    ("driver", "replace-resume", "alone"),
    ("driver", "half-a-journal-line", "cohort"),
    ("driver", "between-study-and-mlflow", "alone"),
    ("driver on a cluster", "replace-checkpoints", "cohort"),
    ("writer", "mlflow-flush", "cohort"),
    ("mlflow server", "mlflow-flush", "alone"),
}
"""What `make test` looks at; `make chaos` looks at all."""
