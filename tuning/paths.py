"""The only place that knows a file or folder name of a home or a sweep."""

import contextlib
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tuning.errors import RequestError

DEFAULT_HOME = "runs"

STORAGE = "TUNING_STORAGE"
"""Variable that names the storage where a request does not."""

REPORT = "report.html"
"""In the sweep's folder, and among the artifacts of its run in MLflow."""


REQUEST = "driver.request"
"""In the sweep's folder: what another process asks of the driver (`endings`)."""


def home_folder(option: str | None) -> Path:
    """Return the home as an absolute path: the option, else TUNING_HOME, else `runs`.

    Raises:
        RequestError: for a relative home inside a Ray job, whose working folder is collected.
    """
    home = expanded(option or os.environ.get("TUNING_HOME") or DEFAULT_HOME)
    if not home.is_absolute() and "RAY_JOB_ID" in os.environ and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        raise RequestError(
            f"Inside a Ray job the home must be an absolute path, but got {str(home)!r}: the job's working "
            "folder is collected. Set --home or TUNING_HOME to a folder on the head's persistent disk."
        )
    return home.absolute()


def expanded(path: str) -> Path:
    """Return a path with `~` and `~user` replaced by a home.

    Raises:
        RequestError: where there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise RequestError(
            f"The path {path!r} names a user who has no home here; give it in full."
        ) from error


def tracking_database(home: Path) -> Path:
    return home / "mlflow.db"


def ui_log(home: Path) -> Path:
    return home / "ui.log"


def tracking_artifacts(home: Path) -> Path:
    return home / "mlartifacts"


def check_name(name: str) -> str:
    """Return a sweep's name if it can be a folder name everywhere."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise RequestError(
            "A sweep's name must be 1 to 100 letters, digits, '.', '_' or '-', "
            f"starting with a letter or digit, but got {name!r}."
        )
    if name in ("mlartifacts", "mlflow.db", "ui.log"):
        raise RequestError(f"The name {name!r} is taken by a file of the home; choose another.")
    return name


@dataclass(frozen=True, slots=True)
class SweepPaths:
    """Where one sweep keeps what."""

    home: Path
    name: str

    def command(self, does: str) -> str:
        """Return a command about this sweep as it is to be given here, with its home if need be."""
        return f"tuning {does} {self.name}{self.home_option}"

    @property
    def home_option(self) -> str:
        """` --home HOME`, where the home is not the one that is looked into without it."""
        with contextlib.suppress(RequestError):
            if home_folder(None) == self.home:
                return ""
        return f" --home {shlex.quote(str(self.home))}"

    @property
    def folder(self) -> Path:
        return self.home / self.name

    @property
    def spec(self) -> Path:
        return self.folder / "spec.yaml"

    @property
    def journal(self) -> Path:
        return self.folder / "study.journal"

    @property
    def sizing(self) -> Path:
        return self.folder / "cohort.json"

    @property
    def claim(self) -> Path:
        return self.folder / "driver.lock"

    @property
    def request(self) -> Path:
        return self.folder / REQUEST

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def gpu_use(self) -> Path:
        """How busy GPUs are, while there is a driver."""
        return self.scratch / "gpus.json"

    @property
    def scratch(self) -> Path:
        """What is written while a driver lives, and goes with it: by Ray Tune, and `gpu_use`."""
        return self.folder / "tune"

    @property
    def log(self) -> Path:
        return self.folder / "sweep.log"

    @property
    def report(self) -> Path:
        return self.folder / REPORT

    def inspection(self, number: int) -> Path:
        """The page of figures that `tuning inspect` makes of a trial."""
        return self.folder / f"inspect-{trial_name(number)}.html"

    def storage(self, option: str | None, sweep_id: str) -> str:
        """Return the folder or URI that holds `checkpoints/` and `resume/`.

        A storage that several users share gets a folder per sweep id, so equal names never meet.
        """
        if option is None:
            return str(self.folder)
        root = option if "://" in option else str(expanded(option).absolute())
        return f"{root.rstrip('/')}/{self.name}-{sweep_id[:8]}"


def checkpoint_file(storage: str, number: int) -> str:
    return f"{checkpoint_folder(storage)}/{trial_name(number)}.pt"


def card_file(storage: str, number: int) -> str:
    return f"{checkpoint_folder(storage)}/{trial_name(number)}.json"


def attempt_file(storage: str) -> str:
    return f"{storage}/attempt"


def checkpoint_folder(storage: str) -> str:
    return f"{storage}/checkpoints"


def resume_folder(storage: str) -> str:
    return f"{storage}/resume"


def resume_file(storage: str, name: str) -> str:
    return f"{resume_folder(storage)}/{name}"


def resume_name(cohort_id: str) -> str:
    return f"cohort-{cohort_id}.pt"


def ahead_name(cohort_id: str) -> str:
    """Return the name of the file beside it that has what goes on, while ends of others are not told yet."""
    return f"cohort-{cohort_id}-ahead.pt"


def last_words_file(storage: str, cohort_id: str) -> str:
    """Return the file in which a worker says why it ends its process, before it does."""
    return f"{resume_folder(storage)}/last-words-{cohort_id}.txt"


TURN = "turn-"


def turn_file(storage: str, cohort_id: str) -> str:
    """Return the file that tells which turn at a cohort is the latest, once a worker was lost over it."""
    return f"{storage}/{TURN}{cohort_id}"


def trial_name(number: int) -> str:
    return f"trial-{number:05d}"
