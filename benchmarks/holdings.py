"""What a home holds of a sweep, in its study, in MLflow and on its disk, and what in it belongs to nobody."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from benchmarks.findings import Check
from tuning.paths import REPORT

OF_A_SWEEP = ("spec.yaml", "study.journal", "cohort.json", "driver.lock", "attempt", "sweep.log", REPORT)
OF_A_HOME = ("mlflow.db",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What is there of one sweep, trials by number; files relative to the home."""

    name: str
    ended: Sequence[int]
    """In the study."""
    with_result: Collection[int]
    """Those of them that reached a value, and so have a checkpoint."""
    parents: Sequence[str]
    """Status of each parent run."""
    runs: Sequence[tuple[int, str]]
    """Number and status of each trial's run."""
    artifacts: Mapping[int, str]
    """Where the files of a trial's run lie."""
    parent_artifacts: Sequence[str]
    registered: Sequence[str]
    """Folders of the models in the registry, of whatever sweep."""
    files: frozenset[str]
    """All of the home."""

    @property
    def checkpoints(self) -> list[int]:
        prefix, suffix = f"{self.name}/checkpoints/trial-", ".pt"
        found = (file for file in self.files if file.startswith(prefix) and file.endswith(suffix))
        return sorted(int(file.removeprefix(prefix).removesuffix(suffix)) for file in found)

    @property
    def running(self) -> int:
        """Runs that are left RUNNING."""
        return Counter([*self.parents, *(status for _, status in self.runs)])["RUNNING"]

    def wrong(self, trials: int) -> int:
        """Return how many trials study, MLflow and disk lack, or hold twice, and parent runs likewise."""
        numbers = range(trials)
        wanted = [number for number in numbers if number in self.with_result]
        return (
            differences(self.ended, numbers)
            + differences([number for number, _ in self.runs], numbers)
            + differences(self.checkpoints, wanted)
            + abs(len(self.parents) - 1)
        )

    def needed(self) -> set[str]:
        """Return the files that must be there."""
        found = {f"{folder}/spec.yaml" for folder in self.parent_artifacts}
        for number in self.with_result:
            places = [f"{self.name}/checkpoints"]
            places += [f"{self.artifacts[number]}/checkpoint"] if number in self.artifacts else []
            found |= {f"{place}/trial-{number:05d}{end}" for place in places for end in (".pt", ".json")}
        return found


def differences(found: Iterable[int], wanted: Iterable[int]) -> int:
    """Return how many numbers are missing, not wanted, or there more than once."""
    there, due = Counter(found), Counter(wanted)
    return (there - due).total() + (due - there).total()


def strays(found: Sequence[Holdings]) -> list[str]:
    """Return the files of a home that belong to none of its sweeps."""
    belonging = set(OF_A_HOME)
    for one in found:
        belonging |= one.needed() | {f"{one.name}/{file}" for file in OF_A_SWEEP}
        belonging |= {f"{folder}/{REPORT}" for folder in one.parent_artifacts}
    models = tuple(folder for one in found for folder in one.registered)
    return sorted(file for file in found[0].files - belonging if not file.startswith(models))


def missing(found: Sequence[Holdings]) -> list[str]:
    """Return the files that should be there and are not."""
    needed = {file for one in found for file in one.needed()}
    return sorted(needed - found[0].files)


def judge(found: Sequence[Holdings], totals: Mapping[str, int]) -> list[Check]:
    """Return what must hold of all sweeps of a home, each of which has so many trials."""
    wrong = sum(one.wrong(totals[one.name]) for one in found)
    return [
        Check("trials that study, MLflow or disk lack, or hold twice", wrong, 0),
        Check("MLflow runs left RUNNING", sum(one.running for one in found), 0),
        Check.none("files of trials that are missing", missing(found)),
        Check.none("files that belong to nothing", strays(found)),
    ]


def read(home: Path, name: str) -> Holdings:
    """Read what there is of a sweep that nobody drives."""
    files = frozenset(str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir())
    from tuning import ledger
    from tuning.tracking import client, finding

    sweep = ledger.open_sweep(name, str(home))
    mlflow = client.connect(client.default_uri(home))
    experiments = [found.experiment_id for found in mlflow.search_experiments()]
    runs = [run for one in experiments for run in finding.find_runs(mlflow, one, str(sweep.spec.id))]
    parents = [run for run in runs if run.data.tags["tuning.kind"] == "sweep"]
    trials = [(int(run.data.tags["tuning.trial"]), run) for run in runs if run not in parents]
    return Holdings(
        name=name,
        ended=[trial.number for trial in sweep.trials if trial.state.has_ended],
        with_result={trial.number for trial in sweep.trials if trial.value is not None},
        parents=[run.info.status for run in parents],
        runs=[(number, run.info.status) for number, run in trials],
        artifacts={number: _folder(run.info.artifact_uri, home) for number, run in trials},
        parent_artifacts=[_folder(run.info.artifact_uri, home) for run in parents],
        registered=[f"{_folder(one.source, home)}/" for one in mlflow.search_model_versions()],
        files=files,
    )


def _folder(uri: str, home: Path) -> str:
    """Return where artifacts lie, relative to the home."""
    return str(Path(unquote(urlparse(uri).path)).relative_to(home))
