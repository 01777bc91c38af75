"""Every documented model, swept end to end on its default data by the real Ray, Optuna and MLflow."""

import contextlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import models
import tuning
from tests import sweeps
from tests.report.test_page import Parsed
from tuning import ledger, notation
from tuning.cli import main
from tuning.report.write import PANELS
from tuning.space import Float, Int
from tuning.study import Study


@pytest.fixture(scope="module")
def all_swept(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> tuple[dict[str, Any], Path]:
    """`tuning sweep all`: its JSON, and the home it filled."""
    home = tmp_path_factory.mktemp("home")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        options = ["--trials", "10", "--max-concurrent", "2", "--home", str(home), "--json"]
        assert main(["sweep", "all", *options]) == 0
    return json.loads(output.getvalue()), home


def test_sweep_all_sweeps_every_documented_model(all_swept: tuple[dict[str, Any], Path]) -> None:
    facts, home = all_swept
    assert [found["sweep"] for found in facts["sweeps"]] == [f"all-{model}" for model in models.CATALOG]
    assert all(sum(found["states"].values()) == 10 and found["best"] for found in facts["sweeps"])
    assert ledger.names(str(home)) == sorted(f"all-{model}" for model in models.CATALOG)


@pytest.mark.parametrize("model", models.CATALOG)
def test_a_sweep_leaves_one_run_and_one_checkpoint_per_trial_and_a_best_model(
    model: str, all_swept: tuple[dict[str, Any], Path]
) -> None:
    _, home = all_swept
    sweep = ledger.open_sweep(f"all-{model}", str(home))
    assert len(sweep.trials) == 10 and all(trial.state.has_ended for trial in sweep.trials)
    searched = {"lr", "momentum", "dropout", "bn_momentum"}
    assert all(searched <= set(trial.hyperparameters) for trial in sweep.trials)

    ledgers = sweeps.read(f"all-{model}", home)
    sweeps.assert_they_agree(sweep, ledgers)
    assert ledgers.parent.info.run_name == f"all-{model}"
    assert ledgers.client.get_experiment(ledgers.parent.info.experiment_id).name == model

    best = tuning.load_best(f"all-{model}", home=str(home))
    assert best.trial == sweep.best and not best.model.training
    content, measured = sweeps.remeasured(ledgers.checkpoints[best.trial.number])
    assert measured[content["metric"]] == pytest.approx(best.trial.value, rel=1e-6)
    assert content["epoch"] == best.trial.epoch
    _, tested = sweeps.remeasured(ledgers.checkpoints[best.trial.number], "test")
    assert sweep.test == pytest.approx(tested, rel=1e-6)
    assert {key: ledgers.parent.data.metrics[key] for key in tested} == pytest.approx(tested, rel=1e-6)
    assert all(map(torch.equal, best.model.state_dict().values(), content["state_dict"].values()))


@pytest.mark.parametrize("model", models.CATALOG)
def test_the_report_of_every_documented_model_has_every_figure(
    model: str, all_swept: tuple[dict[str, Any], Path]
) -> None:
    _, home = all_swept
    page = Parsed((home / f"all-{model}" / "report.html").read_text(encoding="utf-8"))
    figures = {key.removesuffix("-data"): data for key, data in page.data.items() if key != "table-data"}
    assert set(figures) == {panel.__name__ for panel in PANELS}
    assert all(any(_marks(trace) for trace in found["data"]) for found in figures.values())
    axes = {found["label"] for found in figures["parallel"]["data"][0]["dimensions"]}
    assert {"lr", "momentum", "dropout", "bn_momentum"} <= axes
    assert len(page.data["table-data"]["rows"]) == 10


def _marks(trace: dict[str, Any]) -> int:
    """Return the marks, bars or lines of a part of a figure."""
    return len(trace["dimensions"][0]["values"] if "dimensions" in trace else trace["x"])


def test_the_same_sweep_again_goes_on_to_a_larger_total_and_is_refused_when_it_differs(
    home: Path, ray_cluster: Any
) -> None:
    spec = tuning.SweepSpec(model="net", trials=3, epochs=9, max_concurrent=1)
    first = tuning.sweep(spec)
    spent_s = ledger.open_sweep("net").wall_s
    again = tuning.sweep(spec)
    assert again.trials == first.trials, "a finished sweep has nothing to do"
    assert ledger.open_sweep("net").wall_s == spent_s, "which takes no time of it"
    fewer = tuning.sweep(tuning.SweepSpec(model="net", trials=1, epochs=9, max_concurrent=1))
    assert fewer.total == 3, "a total is never less than what there is"
    assert ledger.open_sweep("net").spec.trials == 3
    longer = tuning.sweep(tuning.SweepSpec(model="net", trials=5, epochs=9, max_concurrent=1))
    assert longer.trials[:3] == first.trials and len(longer.trials) == 5
    lrs = [trial.hyperparameters["lr"] for trial in longer.trials]
    assert len(set(lrs)) == 5, "what is suggested after a resume must not repeat what was"
    sweeps.assert_they_agree(longer, sweeps.read("net", home))
    with pytest.raises(tuning.RequestError, match=r"epochs: 9 -> 10"):
        tuning.sweep(tuning.SweepSpec(model="net", trials=5, epochs=10))


def test_trials_that_do_badly_at_a_rung_are_pruned_and_keep_their_best_checkpoint(
    home: Path, ray_cluster: Any
) -> None:
    tries = [{"lr": 0.1}, {"lr": 1e-7}, {"lr": 1e-8}, {"lr": 0.2}]
    result = tuning.sweep(
        tuning.SweepSpec(
            model="net",
            trials=4,
            epochs=9,
            max_concurrent=1,
            search={"lr": Float(1e-9, 0.3, log=True)},
            try_=tries,
        )
    )
    assert [trial.state.value for trial in result.trials][:3] == ["completed", "pruned", "pruned"]
    assert [sorted(trial.values) for trial in result.trials[1:3]] == [[1], [1]], "the first rung is epoch 1"
    assert all(trial.where for trial in result.trials)
    ledgers = sweeps.read("net", home)
    sweeps.assert_they_agree(result, ledgers)
    assert [ledgers.children[number].info.status for number in (0, 1)] == ["FINISHED", "KILLED"]
    content, measured = sweeps.remeasured(ledgers.checkpoints[1])
    assert measured["val_loss"] == pytest.approx(result.trials[1].value, rel=1e-6)
    assert content["epoch"] == 1


def test_configurations_to_try_run_first_and_what_they_leave_out_is_suggested(
    home: Path, ray_cluster: Any
) -> None:
    result = tuning.sweep(
        tuning.SweepSpec(
            model="net",
            trials=3,
            max_concurrent=1,
            epochs=3,
            search={"lr": Float(1e-3, 0.3, log=True), "n_hidden": Int(4, 32)},
            try_=[{"lr": 0.05, "n_hidden": 7}, {"lr": 0.1, "optimizer": "rmsprop", "alpha": 0.9}],
        )
    )
    first, second, third = (trial.hyperparameters for trial in result.trials)
    assert first == {"optimizer": "sgd", "lr": 0.05, "n_hidden": 7}
    assert second == {"optimizer": "rmsprop", "alpha": 0.9, "lr": 0.1, "n_hidden": second["n_hidden"]}
    assert third["optimizer"] == "sgd" and "alpha" not in third
    sweeps.assert_they_agree(result, sweeps.read("net", home))


def test_a_trial_that_diverges_or_fails_ends_alone_and_is_told_so(
    home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    (tmp_path / "touchy.py").write_text(
        "import torch\n"
        "class Touchy(torch.nn.Module):\n"
        "    def __init__(self, kind='good'):\n"
        "        super().__init__()\n"
        "        self.out, self.kind = torch.nn.Linear(1, 1), kind\n"
        "    def forward(self, x):\n"
        "        if self.kind == 'bad' and self.training and torch.is_grad_enabled() and len(x) > 4:\n"
        "            raise ArithmeticError('touched')\n"
        "        return self.out(x) * (1e30 if self.kind == 'huge' else 1)\n"
    )
    result = tuning.sweep(
        tuning.SweepSpec(
            model=f"{tmp_path}/touchy.py:Touchy",
            name="touchy",
            data="noisy_square",
            trials=3,
            max_concurrent=1,
            epochs=2,
            search={"lr": Float(0.01, 0.1)},
            try_=[{"kind": "bad"}, {"kind": "huge"}, {"kind": "good"}],
        )
    )
    assert [trial.state.value for trial in result.trials] == ["failed", "diverged", "completed"]
    assert result.best is not None and result.best.number == 2
    ledgers = sweeps.read("touchy", home)
    sweeps.assert_they_agree(result, ledgers)
    causes = [ledgers.children[number].data.tags.get("tuning.cause", "") for number in range(3)]
    assert "ArithmeticError: touched" in causes[0] and not causes[2]
    assert re.search(r"_loss is (inf|nan)\b.* after epoch 1$", causes[1])
    assert [trial.state.name for trial in ledgers.study.trials] == ["FAIL", "FAIL", "COMPLETE"]
    assert sorted(ledgers.checkpoints) == [2]


def test_trials_that_fail_in_a_row_end_the_sweep_early(home: Path, ray_cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import torch\n"
        "class Broken(torch.nn.Linear):\n"
        "    def __init__(self): super().__init__(1, 1)\n"
        "    def forward(self, x):\n"
        "        if len(x) > 4: raise KeyError('nowhere')\n"
        "        return super().forward(x)\n"
    )
    spec = tuning.SweepSpec(
        model=f"{tmp_path}/broken.py:Broken",
        data="noisy_square",
        trials=50,
        epochs=2,
        max_failures=3,
        max_concurrent=1,
    )
    result = tuning.sweep(spec)
    assert result.halted is not None and "3 trials in a row failed" in result.halted
    assert "KeyError: 'nowhere'" in result.halted
    assert len(result.trials) == 3
    assert sweeps.read("Broken", home).parent.info.status == "FAILED"


def test_trials_in_cohorts_come_to_the_values_of_trials_alone(home: Path, ray_cluster: Any) -> None:
    values = []
    for name, cohort in (("alone", 1), ("together", 3)):
        result = tuning.sweep(
            tuning.SweepSpec(
                model="net",
                name=name,
                trials=4,
                epochs=3,
                max_concurrent=2,
                cohort=cohort,
                try_=[{"lr": 0.01 * n, "momentum": 0.2 * n, "dropout": 0.1} for n in range(1, 5)],
                fixed={"bn_momentum": 0.3},
                search={"lr": tuning.Float(0.001, 0.1), "momentum": tuning.Float(0, 0.9)},
                early_stopping=tuning.EarlyStopping(kind="none"),
            )
        )
        ledgers = sweeps.read(name, home)
        sweeps.assert_they_agree(result, ledgers)
        tags = [run.data.tags for _, run in sorted(ledgers.children.items())]
        slots = [found["tuning.stack"] for found in tags]
        assert slots == (["1 of 1"] * 4 if cohort == 1 else ["1 of 2", "2 of 2"] * 2), "shared out evenly"
        assert len({found["tuning.cohort"] for found in tags}) == (4 if cohort == 1 else 2)
        values.append([list(trial.values.values()) for trial in result.trials])
    for alone, together in zip(*values, strict=True):
        assert together == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("cohort", ["auto", 2])
def test_a_total_that_has_been_reached_ends_what_was_begun(home: Path, ray_cluster: Any, cohort: Any) -> None:
    spec = tuning.SweepSpec(model="net", trials=2, epochs=2, max_concurrent=1, cohort=cohort)
    tuning.sweep(spec)
    resolved = replace(notation.load(home / "net" / "spec.yaml"), name="net")
    Study(resolved, (home / "net" / "study.journal").resolve(), write=True).ask_many(2)
    assert sum(tuning.sweep(spec).states.values()) == 4
