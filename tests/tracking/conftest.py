"""What the tests of this room have written to MLflow, and what is there then."""

from pathlib import Path

import pytest

from tests.tracking.jobs import SPEC
from tuning.tracking.messages import Job
from tuning.tracking.tracker import Tracker


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "again"
    folder.mkdir()
    (folder / "spec.yaml").write_text("model: net\n")
    return Job(SPEC, "net", f"sqlite:///{tmp_path}/mlflow.db", tmp_path, str(folder))


@pytest.fixture
def tracker(job: Job) -> Tracker:
    return Tracker(job.spec, job.experiment, job.uri, job.home, job.folder)
