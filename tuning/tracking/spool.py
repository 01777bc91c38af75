"""What is still to be written to MLflow, on disk: a file per few seconds of news, removed once it is written.

So a record outlives the driver, the process that writes, and a tracking server that is away for a night.
What is read twice is written once: a point has its time with it, and a tag or an end its value.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tuning import storage
from tuning.records import State, TrialSpec
from tuning.tracking.pending import Run


class Spool:
    """A folder of numbered files, each of them whole: `storage.write` puts it in place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next: int | None = None

    def names(self) -> list[str]:
        """Return the names of the files, in the order in which they were written."""
        return [name for name in storage.names(str(self._folder)) if name.endswith(".json")]

    def tidy(self) -> None:
        """Remove what a death has left half written."""
        for path in storage.asides(str(self._folder)):
            storage.remove(path)

    def put(self, news: dict[int, Run]) -> None:
        """Add a file.

        Raises:
            OSError: when it cannot be written.
        """
        if self._next is None:
            stems = [Path(name).stem for name in self.names()]
            self._next = max((int(stem) + 1 for stem in stems if stem.isdecimal()), default=0)
        content = {str(number): _plain(run) for number, run in news.items()}
        storage.write(str(self._folder / f"{self._next:012d}.json"), json.dumps(content).encode())
        self._next += 1

    def read(self, name: str) -> dict[int, Run]:
        """Return the news in a file.

        Raises:
            ValueError: when it is none of ours, or is damaged.
        """
        try:
            plain = json.loads(storage.read(str(self._folder / name)))
            return {int(number): _run(found) for number, found in plain.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{self._folder / name} is no file of records: {error}") from error

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that are written, the oldest first: what a death leaves ends with the newest."""
        for name in sorted(names):
            storage.remove(str(self._folder / name))


def _plain(run: Run) -> dict[str, Any]:
    return {
        "hyperparameters": run.trial.hyperparameters if run.trial else None,
        "tags": run.tags,
        "metrics": [[key, step, value, at_ms] for (key, step), (value, at_ms) in run.metrics.items()],
        "state": run.state,
        "cause": run.cause,
        "trial": run.trial.number if run.trial else None,
        "began_ms": run.began_ms,
        "ended_ms": run.ended_ms,
    }


def _run(plain: dict[str, Any]) -> Run:
    found = plain["hyperparameters"]
    return Run(
        trial=None if found is None else TrialSpec(number=plain["trial"], hyperparameters=found),
        tags=plain["tags"],
        metrics={(key, step): (value, at_ms) for key, step, value, at_ms in plain["metrics"]},
        state=None if plain["state"] is None else State(plain["state"]),
        cause=plain["cause"],
        began_ms=plain.get("began_ms"),
        ended_ms=plain.get("ended_ms"),
    )
