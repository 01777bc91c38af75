"""A sweep that somebody hands over, and what they may have hidden in it."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.engine import trials

ID = "0b2f6f0e-0000-4000-8000-000000000001"
SPEC, SPLITS = trials.settings("net", name="demo", epochs=1, trials=2)
SPEC = replace(SPEC, id=ID)

Refused = Callable[..., None]
"""Runs a command and checks how it is refused."""


class Payload:
    """What runs a command when it is unpickled: it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._trace}",)
