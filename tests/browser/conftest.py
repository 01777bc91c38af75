"""A sweep in the MLflow UI that `tuning ui` serves, and a real Chromium to look at it with."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

import tuning
from tests.conftest import REPOSITORY

CHROMIUM = shutil.which("chromium")
TRIALS, EPOCHS = 48, 9
LATEST_S = 60
"""How long a page may take to show something."""


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: with PICTURES=docs/pictures those of the README are taken anew."""
    return Path(os.environ.get("PICTURES") or tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def sweep_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a sweep of so many trials that its figures say something; most were stopped early."""
    home = tmp_path_factory.mktemp("home")
    settings = {"epochs": EPOCHS, "cohort": 6, "max_concurrent": 1}  # so it repeats, and none diverges
    tuning.sweep(tuning.SweepSpec(model="batchnorm_net", trials=TRIALS, home=str(home), **settings))
    return home


@pytest.fixture(scope="session")
def runs(sweep_home: Path) -> dict[str, Run]:
    """What MLflow has, by name."""
    client = MlflowClient(f"sqlite:///{sweep_home}/mlflow.db")
    experiment = client.get_experiment_by_name("batchnorm_net")
    assert experiment is not None
    return {run.info.run_name or "": run for run in client.search_runs([experiment.experiment_id])}


@pytest.fixture(scope="session")
def addresses(sweep_home: Path) -> Iterator[tuple[str, str]]:
    """Where `tuning ui` serves, and where it says that the trials of its newest sweep are."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tuning", "ui", "--home", str(sweep_home), "--port", "5600"],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = [process.stderr.readline() for _ in range(3)]
    found = [re.search(r"http://127\.0\.0\.1:\d+\S*", line) for line in said[1:]]
    assert found[0] and found[1] and "the trials of batchnorm_net, by their last epoch: " in said[2], said
    yield found[0][0], found[1][0]
    process.terminate()
    assert process.wait(timeout=60) == 0


@pytest.fixture(scope="session")
def address(addresses: tuple[str, str]) -> str:
    return addresses[0]


@pytest.fixture(scope="session")
def trials_address(addresses: tuple[str, str]) -> str:
    return addresses[1]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium (make packages)")
    with sync_playwright() as playwright:
        # As root it has no sandbox; what it is shown is the test's own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page of a browser that has never been here, that may ask no other machine for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(LATEST_S * 1000)
    expect.set_options(timeout=LATEST_S * 1000)
    strangers: list[str] = []

    def note(request: Request) -> None:
        if request.url.startswith("http") and not request.url.startswith(address):
            strangers.append(request.url)

    page.on("request", note)
    yield page
    context.close()
    assert not strangers
