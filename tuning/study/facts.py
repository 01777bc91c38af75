"""What a study keeps of its sweep as a whole: data, test, confirmation, champion, notes, devices, time."""

import math
from collections.abc import Mapping
from typing import Any

import optuna

from tuning.confirmed import Confirmation, Run
from tuning.records import Fleet
from tuning.space import is_finite
from tuning.spec import Resources


class Facts:
    """Attributes of a study in this project's words; to be set by the claim's holder."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def set_test(self, number: int, metrics: dict[str, float]) -> None:
        """Keep the test metrics of the best trial."""
        self._study.set_user_attr("test", {"trial": number, "metrics": metrics})

    def test(self, number: int) -> dict[str, float] | None:
        """Return a trial's test metrics, if it is the one that was measured."""
        found = self._study.user_attrs.get("test", {})
        return found["metrics"] if found.get("trial") == number else None

    def outdated_test(self) -> dict[str, float]:
        """Return NaN for each test metric that was measured: of a trial that is not the best any more."""
        return dict.fromkeys(self._study.user_attrs.get("test", {}).get("metrics", {}), math.nan)

    def set_confirmation(self, plain: dict[str, Any]) -> None:
        """Keep what fresh seeds made of the best trials (`confirmed.Confirmation`)."""
        self._study.set_user_attr("confirmation", plain)

    def confirmation(self) -> Confirmation | None:
        return Confirmation.from_plain(self._study.user_attrs.get("confirmation"))

    def set_fresh_runs(self, runs: Mapping[int, Run]) -> None:
        """Keep what fresh seeds made of trials, by the numbers that they trained again under."""
        self._study.set_user_attr("fresh_runs", [[number, run] for number, run in runs.items()])

    def fresh_runs(self) -> dict[int, Run]:
        """Return what is kept of that; nothing if it cannot be read."""
        try:
            found = self._study.user_attrs.get("fresh_runs", [])
            return {int(number): None if run is None else _run(*run) for number, run in found}
        except (AttributeError, TypeError, ValueError):
            return {}

    def set_champion(self, number: int, confirmed: float | None, model: str, trial: int) -> None:
        """Keep that a trial's model was handed to MLflow's registry: it is asked for no second time.

        Args:
            confirmed: its mean over fresh seeds, if it was confirmed.
            model: name of the registered model.
            trial: whose model is the champion now, be it this one or a better one.
        """
        champion = {"handed": [number, confirmed], "model": model, "trial": trial}
        self._study.set_user_attr("champion", champion)

    def is_champion(self, number: int) -> bool:
        """Whether a trial's model was handed to MLflow's registry last, with what is confirmed of it."""
        return self._champion().get("handed") == [number, self.confirmed_mean(number)]

    def champion(self) -> tuple[str, int] | None:
        """Return the registered model's name and its champion's trial; None before there is one."""
        found = self._champion()
        return (str(found["model"]), int(found["trial"])) if found else None

    def _champion(self) -> dict[str, Any]:
        found = self._study.user_attrs.get("champion")
        return found if isinstance(found, dict) else {}

    def confirmed_mean(self, number: int) -> float | None:
        """Return what fresh seeds made of a trial; None if it was not confirmed."""
        found = self.confirmation()
        one = None if found is None else found.of(number)
        return None if one is None else one.mean

    def set_fingerprint(self, fingerprint: str) -> None:
        """Keep what the sweep's data was when it began."""
        if self.fingerprint() is None:
            self._study.set_user_attr("fingerprint", fingerprint)

    def fingerprint(self) -> str | None:
        found = self._study.user_attrs.get("fingerprint")
        return None if found is None else str(found)

    def set_model(self, fingerprint: str) -> None:
        """Keep what the sweep's models hold (`fitting.Fitted`)."""
        if self.model() != fingerprint:
            self._study.set_user_attr("model", fingerprint)

    def model(self) -> str | None:
        found = self._study.user_attrs.get("model")
        return None if found is None else str(found)

    def set_source(self, found: str) -> None:
        """Keep how the code of the sweep's model is written: its hash."""
        if self.source() != found:
            self._study.set_user_attr("source", found)

    def source(self) -> str | None:
        found = self._study.user_attrs.get("source")
        return None if found is None else str(found)

    def add_note(self, note: str) -> None:
        """Keep what the user should know of the sweep, once."""
        if note not in self.notes():
            self._study.set_user_attr("notes", [*self.notes(), note])

    def notes(self) -> list[str]:
        found: list[str] = self._study.user_attrs.get("notes", [])
        return found

    def add_seconds(self, wall_s: float) -> None:
        self._study.set_user_attr("wall_s", self.wall_s() + wall_s)

    def begin_drive(self, at_s: float, gpus: Mapping[str, int], workers: int) -> None:
        """Keep that a driver begins to have trials trained.

        Args:
            gpus: that there are, by host.
            workers: that there may be at the same time.
        """
        before = self.fleet()
        most = {host: max(count, before.gpus.get(host, 0)) for host, count in gpus.items()}
        fleet = [{**before.gpus, **most}, max(workers, before.workers)]
        if fleet != [before.gpus, before.workers]:
            self._study.set_user_attr("fleet", fleet)
        self._study.set_user_attr("drives", [*before.drives, [round(at_s, 1), None]])

    def end_drive(self, at_s: float) -> None:
        """Keep until when it did."""
        *before, (begin_s, _) = self.fleet().drives
        self._study.set_user_attr("drives", [*before, [begin_s, round(at_s, 1)]])

    def fleet(self) -> Fleet:
        gpus, workers = self._study.user_attrs.get("fleet", ({}, 0))
        drives = tuple((begin_s, end_s) for begin_s, end_s in self._study.user_attrs.get("drives", ()))
        return Fleet(gpus=gpus, workers=workers, drives=drives)

    def add_epochs(self, count: int, seconds: float, resources: Resources) -> None:
        """Keep what epochs of trials took workers of this size."""
        before = self._study.user_attrs.get("epochs", [0, 0.0, 0.0])
        taken = (count, seconds * resources.cpus, seconds * (resources.gpus or 0))
        self._study.set_user_attr("epochs", [one + more for one, more in zip(before, taken, strict=True)])

    def epoch_s(self) -> tuple[float, float] | None:
        """Return what an epoch of a trial took on average, in seconds of CPUs and of GPUs, if any did."""
        count, cpu_s, gpu_s = self._study.user_attrs.get("epochs", (0, 0.0, 0.0))
        return (cpu_s / count, gpu_s / count) if count else None

    def wall_s(self) -> float:
        """Seconds that drivers spent on this sweep, over all invocations that were not killed."""
        return float(self._study.user_attrs.get("wall_s", 0.0))


def _run(value: Any, metrics: Any) -> Run:
    """Read what became of a trial that was trained again.

    Raises:
        AttributeError, TypeError, ValueError: when that is none.
    """
    if not all(map(is_finite, (value, *metrics.values()))):
        raise ValueError(f"must be finite numbers, but got {value!r} and {metrics!r}")
    return value, metrics
