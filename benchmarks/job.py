"""What every competitor is given to do: the same configurations, data, epochs and seeds."""

import json
import math
import random
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import models

Configuration = dict[str, float]

DRAW_SEED = 20240607


@dataclass(frozen=True, kw_only=True)
class Job:
    """One list of trials; what a competitor may decide for itself is only how to run them."""

    model: str
    data: str
    epochs: int
    batch_size: int
    seed: int
    metric: str
    mode: Literal["min", "max"]
    configurations: tuple[Configuration, ...]
    is_searched: bool = False
    """Whether ours shall suggest the configurations itself, as many; the others train what it suggested."""

    @cached_property
    def _indices(self) -> dict[tuple[tuple[str, str], ...], int]:
        return {_key(configuration): i for i, configuration in enumerate(self.configurations)}

    def index(self, hyperparameters: Configuration) -> int:
        """Return which configuration these hyperparameters are.

        Raises:
            KeyError: when they are none of them.
        """
        return self._indices[_key({key: hyperparameters[key] for key in self.configurations[0]})]

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> "Job":
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(**{**plain, "configurations": tuple(plain["configurations"])})


def _key(configuration: Configuration) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, f"{value:.9g}") for key, value in configuration.items()))


def draw(model: str, *, trials: int, epochs: int, is_searched: bool = False) -> Job:
    """Return a job of a documented model: configurations from its default search ranges, by a fixed seed."""
    card = models.CATALOG[model]
    rng = random.Random(DRAW_SEED)
    is_classifier = card.task == "classification"
    return Job(
        model=model,
        data=card.data,
        epochs=epochs,
        batch_size=card.batch_size,
        seed=0,
        metric="val_accuracy" if is_classifier else "val_loss",
        mode="max" if is_classifier else "min",
        is_searched=is_searched,
        configurations=tuple(
            {key: _draw(rng, **dimension) for key, dimension in card.search.items()} for _ in range(trials)
        ),
    )


def complete(spec: Any) -> tuple[Any, Any]:
    """Return the spec of a documented model with its defaults filled in, and the data, drawn with seed 0."""
    from tuning import data
    from tuning.references import load_model
    from tuning.resolve import resolve

    splits = data.load(models.CATALOG[spec.model].data, seed=0)
    return resolve(spec, load_model(spec.model), splits.task), splits


def _draw(rng: random.Random, *, low: float, high: float, log: bool = False) -> float:
    if log:
        return math.exp(rng.uniform(math.log(low), math.log(high)))
    return rng.uniform(low, high)
