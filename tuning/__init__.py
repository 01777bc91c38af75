"""Hyperparameter search for PyTorch: the public names, loaded when first used.

`load_checkpoint` thus needs neither Ray nor MLflow, and `tuning --help` not even torch.
"""

import importlib
import importlib.machinery
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning.errors import CheckpointError, RequestError, SweepError
    from tuning.records import State, TrialRecord
    from tuning.reuse import LoadedModel, load_best, load_checkpoint
    from tuning.run import SweepResult, sweep
    from tuning.space import Choice, Float, Int
    from tuning.spec import EarlyStopping, Resources, SweepSpec

__all__ = [
    "CheckpointError",
    "Choice",
    "EarlyStopping",
    "Float",
    "Int",
    "LoadedModel",
    "RequestError",
    "Resources",
    "State",
    "SweepError",
    "SweepResult",
    "SweepSpec",
    "TrialRecord",
    "load_best",
    "load_checkpoint",
    "sweep",
]

_ROOMS = {
    "CheckpointError": "errors",
    "RequestError": "errors",
    "SweepError": "errors",
    "State": "records",
    "TrialRecord": "records",
    "LoadedModel": "reuse",
    "load_best": "reuse",
    "load_checkpoint": "reuse",
    "SweepResult": "run",
    "sweep": "run",
    "Choice": "space",
    "Float": "space",
    "Int": "space",
    "EarlyStopping": "spec",
    "Resources": "spec",
    "SweepSpec": "spec",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'tuning' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tuning.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


class _Catalog:
    """Finds `models`, the catalog beside this package, wherever a user's own `models.py` lies.

    Python looks first into a script's folder, and Ray puts a job's before all else.
    """

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name != "models":
            return None
        return importlib.machinery.PathFinder.find_spec(name, [str(Path(__file__).parent.parent)])


sys.meta_path.insert(0, _Catalog)
