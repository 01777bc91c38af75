"""What a user sees who opens the address that `tuning ui` says, in Chromium."""

import re
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from playwright.sync_api import Page, expect

from tests.browser.conftest import EPOCHS, TRIALS
from tuning.cli import main


def test_it_opens_on_training_runs_without_an_assistant(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="Experiments").first.click()
    page.get_by_role("link", name="batchnorm_net", exact=True).click()
    expect(page.get_by_role("gridcell", name="batchnorm_net").first).to_be_visible()
    page.wait_for_timeout(2000)  # an assistant would open once the runs are there
    expect(page.get_by_placeholder("Ask a question")).to_have_count(0)


def test_trials_nest_under_their_sweep(
    page: Page, address: str, runs: dict[str, Run], pictures: Path
) -> None:
    experiment = runs["batchnorm_net"].info.experiment_id
    page.goto(f"{address}/#/experiments/{experiment}/runs?workflowType=machine_learning")
    expect(page.get_by_role("link", name="batchnorm_net", exact=True).last).to_be_visible()
    assert page.get_by_role("link", name="trial-00000").count() == 0
    page.get_by_role("gridcell", name="batchnorm_net").get_by_role("button").click()
    shown = page.get_by_role("link", name=re.compile(r"^trial-\d{5}$"))
    expect(shown.nth(9)).to_be_visible()  # as many as the table has room for
    assert {int(text.removeprefix("trial-")) for text in shown.all_inner_texts()} <= set(range(TRIALS))
    page.screenshot(path=pictures / "runs.png")


def test_the_address_that_the_command_says_shows_the_trials_sorted_with_what_was_searched(
    page: Page, trials_address: str, runs: dict[str, Run], pictures: Path
) -> None:
    page.set_viewport_size({"width": 1600, "height": 800})
    page.goto(trials_address)
    first = page.get_by_role("link", name=re.compile(r"^trial-\d{5}$")).first
    expect(first).to_be_visible()
    losses = {name: run.data.metrics["val_loss"] for name, run in runs.items() if name.startswith("trial-")}
    expect(first).to_have_text(min(losses, key=lambda name: losses[name]))
    expect(page.get_by_role("gridcell", name="batchnorm_net")).to_have_count(0)
    for column in ("val_loss", "train_loss", "lr", "momentum", "bn_momentum", "tuning.state", "tuning.best"):
        expect(page.get_by_role("columnheader", name=column).first).to_be_visible()
    page.screenshot(path=pictures / "trials.png")


def test_the_sweep_links_to_that_table(page: Page, address: str, runs: dict[str, Run]) -> None:
    parent = runs["batchnorm_net"]
    page.goto(f"{address}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="its trials, by their last epoch").click()
    expect(opened.value.get_by_role("columnheader", name="momentum").first).to_be_visible()


def test_a_trials_validation_loss_is_drawn_per_epoch(
    page: Page, address: str, runs: dict[str, Run], pictures: Path, sweep_home: Path
) -> None:
    best = runs[f"trial-{int(runs['batchnorm_net'].data.tags['tuning.best_trial']):05d}"]
    assert best.data.tags["tuning.best"] == "true"
    assert sum("tuning.best" in run.data.tags for run in runs.values()) == 1
    page.goto(f"{address}/#/experiments/{best.info.experiment_id}/runs/{best.info.run_id}/model-metrics")
    named = page.locator("div").filter(has=page.get_by_text("val_loss", exact=True))
    card = named.filter(has=page.locator(".js-plotly-plot")).last  # the innermost that holds both
    expect(card.locator(".js-plotly-plot")).to_have_count(1)
    expect(card.locator(".scatterlayer .point").first).to_be_visible()
    client = MlflowClient(f"sqlite:///{sweep_home}/mlflow.db")
    points = sorted(client.get_metric_history(best.info.run_id, "val_loss"), key=lambda point: point.step)
    assert [point.step for point in points] == list(range(1, EPOCHS + 1)), "it has completed"
    lines = card.locator(".js-plotly-plot").evaluate("plot => plot.data.map(trace => trace.y)")
    assert lines and all(line == pytest.approx([point.value for point in points]) for line in lines)
    page.screenshot(path=pictures / "val_loss.png")


def test_the_sweep_says_how_to_load_its_best_model(
    page: Page, address: str, runs: dict[str, Run], sweep_home: Path
) -> None:
    parent = runs["batchnorm_net"]
    page.goto(f"{address}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}")
    expect(page.get_by_text(f"tuning.load_best(\"batchnorm_net\", home='{sweep_home}')")).to_be_visible()
    expect(page.get_by_text("tuning sweep batchnorm_net")).to_be_visible()


def test_the_report_opens_among_the_sweeps_artifacts(
    page: Page, address: str, runs: dict[str, Run], pictures: Path
) -> None:
    parent = runs["batchnorm_net"]
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.goto(f"{address}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}/artifacts")
    page.get_by_text("report.html").first.click()
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", name="batchnorm_net", exact=True)).to_be_visible()
    expect(report.locator("#history .js-plotly-plot .main-svg").first).to_be_visible()
    expect(report.locator("#trials tbody tr")).to_have_count(TRIALS)
    page.screenshot(path=pictures / "report.png")
    numbers, values = (report.locator(f"#trials tbody td:nth-child({column})") for column in (1, 3))
    best = sorted(run.data.metrics["val_loss"] for name, run in runs.items() if name.startswith("trial-"))[0]
    column = report.locator("#trials thead").get_by_role("button", name="val_loss")
    for reverse in (False, True):
        column.click()
        found = [float(text) for text in values.all_inner_texts()]
        assert found == sorted(found, reverse=reverse) and len(found) == TRIALS
        assert found[-1 if reverse else 0] <= best * (1 + 1e-5)
    report.locator("#trials thead").get_by_role("button", name="trial").click()
    assert numbers.all_inner_texts() == [str(number) for number in range(TRIALS)]


def test_what_is_inside_a_trial_opens_among_the_trials_artifacts(
    page: Page, address: str, runs: dict[str, Run], sweep_home: Path, pictures: Path
) -> None:
    number = int(runs["batchnorm_net"].data.tags["tuning.best_trial"])
    assert main(["inspect", "batchnorm_net", "--home", str(sweep_home)]) == 0
    run = runs[f"trial-{number:05d}"].info
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.goto(f"{address}/#/experiments/{run.experiment_id}/runs/{run.run_id}/artifacts")
    page.get_by_text(f"inspect-trial-{number:05d}.html").first.click()
    inside = page.frame_locator("iframe")
    expect(inside.get_by_role("heading", name=f"batchnorm_net, trial {number}")).to_be_visible()
    expect(inside.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    page.screenshot(path=pictures / "inspection.png")
