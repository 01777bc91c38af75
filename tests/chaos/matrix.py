"""Who is killed at which moment: every pair, and why some cannot be."""

PLACES = {
    "before-first-report": 1,
    "mid-epoch": 12,
    "replace-resume": 1,
    "replace-checkpoints": 3,
    "mlflow-flush": 1,
    "between-study-and-mlflow": 3,
    "journal-locked": 6,
    "half-a-journal-line": 6,
    "before-end": 1,
}
"""How often a process has to come to a place before it stops there, so that there is something to lose."""

MODES = {"alone": 1, "cohort": 3}
"""Trials that train together."""

SLOW_S = {"mlflow-flush": 12.0}
"""How long all training shall take at least, by place: MLflow takes some seconds to be imported."""

VICTIMS = ("worker", "only worker", "node", "raylet", "gcs", "driver", "writer", "mlflow server")
"""`worker`: one of two. `node`: one of two that train, with all that runs on it. `writer`: the driver's own
process that writes MLflow; `mlflow server`: the one that `--tracking-uri` names."""

NOBODY_TRAINS = "after the last trial no worker is left: Tune has ended them"
IMPOSSIBLE = {
    ("worker", "before-end"): NOBODY_TRAINS,
    ("only worker", "before-end"): NOBODY_TRAINS,
    ("node", "before-end"): NOBODY_TRAINS,
    ("writer", "before-first-report"): "it is started at the first report",
    ("writer", "replace-resume"): "the first state is saved before the first report",
}

PAIRS = [(victim, place) for victim in VICTIMS for place in PLACES if (victim, place) not in IMPOSSIBLE]

SAMPLE = {
    ("worker", "mid-epoch", "cohort"),
    ("only worker", "replace-checkpoints", "alone"),
    ("node", "mid-epoch", "alone"),
    ("raylet", "mid-epoch", "cohort"),
    ("gcs", "mid-epoch", "alone"),
    ("driver", "replace-resume", "alone"),
    ("driver", "half-a-journal-line", "cohort"),
    ("driver", "between-study-and-mlflow", "alone"),
    ("writer", "mlflow-flush", "cohort"),
    ("mlflow server", "mlflow-flush", "alone"),
}
"""What `make test` looks at; `make chaos` looks at all."""
