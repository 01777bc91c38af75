"""Who is killed at which moment: every pair, and why some cannot be."""

from typing import Any

MODES: dict[str, dict[str, Any]] = {
    "alone": {"cohort": 1},
    "cohort": {"cohort": 3},
    "rungs": {
        "cohort": 3,
        "epochs": 4,
        "early_stopping": {"kind": "asha", "grace_epochs": 2, "reduction": 2},
    },
}
"""Keys of a spec: trials that train one by one, together, and together up to a rung. There those of the
first cohort, of which one diverges before, are halved; of the second cohort one goes on; then the two that
are left train together to their end."""

STATES = {
    "alone": {"completed": 5, "diverged": 1},
    "cohort": {"completed": 5, "diverged": 1},
    "rungs": {"completed": 2, "pruned": 3, "diverged": 1},
}
"""How many trials end how."""

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

AT_RUNGS = {
    "mid-epoch": 23,  # of the first epoch after the rung, in a cohort whose members come from two others
    "replace-resume": 4,  # the second cohort has come to the rung
    "replace-checkpoints": 3,  # so has the first one, of which the driver does not know yet
    "between-study-and-mlflow": 7,  # members of the second cohort were pruned
    "half-a-journal-line": 16,  # ... are
}
"""The same where it differs under early stopping."""

AT_RUNGS_OF_MLFLOW = ("replace-checkpoints", "between-study-and-mlflow")
"""Without MLflow the driver goes on: of the places at rungs those with most of its records on their way."""

OFTENER = {("writer", "replace-resume", "alone"): 2, ("writer", "replace-resume", "cohort"): 2}
"""Where it has to be oftener for a victim: the process that writes MLflow is started at the first report."""


def count(victim: str, place: str, mode: str) -> int:
    if mode == "rungs":
        return AT_RUNGS[place]
    return OFTENER.get((victim, place, mode), PLACES[place])


SLOW_S = {"mlflow-flush": 60.0}
"""How long all training shall take if nobody comes to the place: MLflow has to be imported."""

VICTIMS = ("worker", "only worker", "node", "raylet", "gcs", "driver", "writer", "mlflow server")
"""`worker`: one of two. `node`: one of two that train, with all that runs on it. `writer`: the driver's own
process that writes MLflow; `mlflow server`: the one that `--tracking-uri` names."""

ON_A_CLUSTER = {"gcs of a cluster": ("mid-epoch",)}
"""The head of a cluster that the driver has not started: killed where a worker stands, since elsewhere
nothing differs from the driver's own Ray. Drivers on a cluster, whose workers live on: `test_orphans.py`."""

NOBODY_TRAINS = "after the last trial no worker is left: Tune has ended them"
IMPOSSIBLE = {
    ("worker", "before-end"): NOBODY_TRAINS,
    ("only worker", "before-end"): NOBODY_TRAINS,
    ("node", "before-end"): NOBODY_TRAINS,
    ("writer", "before-first-report"): "it is started at the first report",
}

PAIRS = [(victim, place) for victim in VICTIMS for place in PLACES if (victim, place) not in IMPOSSIBLE]
PAIRS += [(victim, place) for victim, places in ON_A_CLUSTER.items() for place in places]

CASES = [(victim, place, mode) for mode in ("alone", "cohort") for victim, place in PAIRS]
CASES += [
    (victim, place, "rungs")
    for victim in VICTIMS
    if victim
    != "worker"  # of two workers the quicker one comes to a rung first, so that it never is the same
    for place in (AT_RUNGS_OF_MLFLOW if victim in ("writer", "mlflow server") else AT_RUNGS)
]

SAMPLE = {
    ("worker", "mid-epoch", "cohort"),
    ("only worker", "replace-checkpoints", "alone"),
    ("node", "mid-epoch", "alone"),
    ("raylet", "mid-epoch", "cohort"),
    ("gcs", "mid-epoch", "alone"),
    ("driver", "between-study-and-mlflow", "rungs"),
    ("writer", "mlflow-flush", "cohort"),
    ("mlflow server", "mlflow-flush", "alone"),
}
"""What `make test` looks at, beside one orphan; `make chaos` looks at all."""

FIRST_RECORDS = (
    ("half-a-journal-line", 1),  # of the study itself
    ("journal-locked", 2),  # to say whose it is
    ("half-a-journal-line", 3),  # of what its data is
    ("half-a-journal-line", 4),  # of the configuration to try first
    ("journal-locked", 5),  # to say that it is there, or to ask for trials
    ("half-a-journal-line", 5),
)
"""Where a driver dies before its first trial: places and how often it has come to them."""
