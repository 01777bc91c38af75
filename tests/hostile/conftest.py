"""A sweep that was trained by hand, and commands over it that must be refused."""

import pickle
import shutil
from pathlib import Path

import pytest

from tests.engine import trials
from tests.hostile.planted import SPEC, SPLITS, Payload, Refused
from tuning import notation, paths, storage
from tuning.cli import main
from tuning.engine import checkpoint, resume_state
from tuning.records import State
from tuning.study import Study


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep `demo` of one completed trial, and one that is interrupted."""
    folder = tmp_path_factory.mktemp("home") / "demo"
    storage.write(str(folder / "spec.yaml"), notation.dump(SPEC).encode())
    study = Study(SPEC, folder / "study.journal", write=True)
    for trial in study.ask_many(2):
        _, training = trials.run(SPEC, SPLITS, 1, **trial.hyperparameters)
        study.report(trial.number, 1, training.history[0]["val_loss"])
        checkpoint.save_best(str(folder), training, trial, SPEC, SPLITS)
        state = {**training.to_plain(), "trial": trial.number}
        resume_state.save(paths.resume_file(str(folder), "cohort-a.pt"), [{"single": state}])
    study.tell(0, State.COMPLETED)
    return folder


@pytest.fixture
def demo(swept: Path, home: Path) -> Path:
    """The sweep's folder in the test's own home."""
    return Path(shutil.copytree(swept, home / "demo"))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The file that a payload leaves behind; that it would is shown first."""
    trace = tmp_path / "trace"
    pickle.loads(pickle.dumps(Payload(trace)))
    trace.unlink()
    return trace


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], trace: Path) -> Refused:
    """Run a command and check that it ends with one line on standard error, and that no code was run."""

    def check(arguments: list[str], *words: str, code: int) -> None:
        assert main(arguments) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1, err
        assert [word for word in words if word not in err] == [], err
        assert not trace.exists()

    return check
