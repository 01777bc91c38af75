"""A sweep that begins from an earlier one: what it takes over, and that it is a sweep of its own."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

import tuning
from tests import sweeps
from tuning import ledger, notation, paths, plan
from tuning.cli import main
from tuning.confirmed import Confirmation, Confirmed
from tuning.errors import RequestError, SweepError
from tuning.records import State, TrialRecord
from tuning.space import Choice, Float, Int
from tuning.spec import SweepSpec
from tuning.study import Study
from tuning.study.earlier import Earlier, look_at
from tuning.study.suggest import WINDOW

OLD = SweepSpec(
    model="net",
    data="noisy_square",
    name="old",
    epochs=3,
    batch_size=64,
    metric="val_loss",
    mode="min",
    search={"lr": Float(1e-3, 0.3, log=True), "momentum": Float(0.0, 0.9)},
    fixed={"optimizer": "sgd", "dropout": 0.1},
    id="11111111",
)
NEW = replace(OLD, name="new", id="22222222", from_="old")


def record(number: int, value: float = 0.5, state: State = State.COMPLETED, **changes: Any) -> TrialRecord:
    hyperparameters = {"optimizer": "sgd", "dropout": 0.1, "lr": 0.01, "momentum": 0.5, **changes}
    return TrialRecord(
        number=number,
        state=state,
        hyperparameters={key: one for key, one in hyperparameters.items() if one is not None},
        values={1: value + 0.1, 2: value},
        value=value,
        epoch=2,
    )


# ---- what fits -------------------------------------------------------------------------------------


def test_trials_of_the_same_search_all_fit() -> None:
    found = look_at(NEW, OLD, [record(0), record(1, 0.4, state=State.PRUNED)])
    assert found.note == "--from old: 2 of 2 trials fit; its best configuration is tried first"
    assert found.first == ({"lr": 0.01, "momentum": 0.5},)
    assert found.is_comparable
    assert [(one.number, one.is_complete, one.epoch) for one in found.trials] == [(0, True, 2), (1, False, 2)]


SEARCHED: dict[str, Any] = {"lr": Float(1e-3, 0.3, log=True), "momentum": Float(0.0, 0.9)}


@pytest.mark.parametrize(
    ("changes", "trial", "reason"),
    [
        ({"search": {**SEARCHED, "lr": Float(0.05, 1.0, log=True)}}, {"lr": 0.01}, "lr outside 0.05:1"),
        ({"search": {**SEARCHED, "n_hidden": Int(4, 32)}}, {}, "no n_hidden"),
        ({"search": {**SEARCHED, "n_hidden": Int(4, 32)}}, {"n_hidden": 64}, "n_hidden outside 4:32"),
        ({"search": {**SEARCHED, "batch_size": Choice((16, 32))}}, {}, "batch_size outside 16, 32"),
        ({"fixed": {"optimizer": "sgd", "dropout": 0.2}}, {}, "dropout is not 0.2"),
        ({"fixed": {"optimizer": "adam"}}, {}, "optimizer is not adam"),
        ({"fixed": {"optimizer": "sgd", "weight_decay": 1e-4}}, {}, "no weight_decay"),
        ({"search": {"lr": SEARCHED["lr"]}, "fixed": {"momentum": 0.9}}, {}, "momentum is not 0.9"),
        ({}, {"state": State.DIVERGED}, "diverged or failed"),
        ({}, {"state": State.RUNNING}, "not ended"),
        ({}, {"lr": "0.01"}, "lr outside 0.001:0.3"),
        ({}, {"lr": math.nan}, "lr outside 0.001:0.3"),
    ],
)
def test_what_does_not_fit_is_left_out_and_said(
    changes: dict[str, Any], trial: dict[str, Any], reason: str
) -> None:
    new = replace(NEW, **changes)
    with pytest.raises(RequestError) as refused:
        look_at(new, OLD, [record(0, **trial)])
    assert f"none of its 1 trials fits this search ({reason}: 1)" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "trial", "params"),
    [
        ({"search": {"lr": SEARCHED["lr"], "dropout": Float(0, 0.6)}, "fixed": {}}, {}, {"dropout": 0.1}),
        ({"search": {"lr": Choice((0.01, 0.1))}}, {}, {"lr": 0.01}),
        ({"search": {**SEARCHED, "batch_size": Choice((32, 64))}}, {}, {"batch_size": 64}),
        ({"search": {"lr": SEARCHED["lr"]}, "fixed": {"momentum": 0.55}}, {}, {"lr": 0.01}),
        (
            {"search": {**SEARCHED, "optimizer": Choice(("sgd", "adagrad"))}, "fixed": {}},
            {"optimizer": "adagrad", "momentum": None},
            {"optimizer": "adagrad"},
        ),
    ],
    ids=[
        "fixed then, searched now",
        "a choice that is among the values",
        "the sweep's own batch size",
        "searched then, fixed nearby now",
        "what the trial's optimizer has not",
    ],
)
def test_what_fits_has_a_value_of_each_dimension(
    changes: dict[str, Any], trial: dict[str, Any], params: dict[str, Any]
) -> None:
    found = look_at(replace(NEW, **changes), OLD, [record(0, **trial)])
    assert params.items() <= found.trials[0].params.items()
    assert set(found.trials[0].params) <= set(changes["search"])


OPEN = replace(NEW, search={"lr": SEARCHED["lr"]}, fixed={"optimizer": "sgd"})
"""Names neither momentum nor dropout, which are 0 then."""


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        (
            [{"n_hidden": 200, "weight_decay": 0.9}],
            "dropout 0.1, momentum 0.5, n_hidden 200, weight_decay 0.9",
        ),
        ([{"momentum": 0.0}], "dropout 0.1"),
        ([{"dropout": 0.0}, {"dropout": 0.0, "momentum": 0.6}], "other momentum"),
        ([{"dropout": 0.0, "momentum": 0.0, "batch_size": 32}], "batch_size 32"),
    ],
    ids=["another model", "fixed then", "searched then", "a batch size of the trial's own"],
)
def test_what_had_another_value_than_it_has_by_default_now_makes_another_task(
    trials: list[dict[str, Any]], said: str
) -> None:
    found = look_at(OPEN, OLD, [record(number, **changes) for number, changes in enumerate(trials)])
    assert set(found.trials[0].params) == {"lr"}
    assert not found.is_comparable
    assert f"with {said} it is another task, so only their order counts" in found.note


def test_what_had_the_value_that_it_has_by_default_now_is_the_same_task() -> None:
    given = {"dropout": 0.0, "momentum": 0.0, "n_hidden": 10, "weight_decay": 0.0, "batch_size": 64}
    assert look_at(OPEN, OLD, [record(0, **given)]).is_comparable


def test_a_default_is_that_of_the_trials_own_optimizer() -> None:
    search = {"lr": SEARCHED["lr"], "optimizer": Choice(("sgd", "adam"))}
    new = replace(OPEN, search=search, fixed={"dropout": 0.1})
    assert look_at(new, OLD, [record(0, optimizer="adam", momentum=0.9)]).is_comparable
    assert not look_at(new, OLD, [record(0, optimizer="sgd", momentum=0.9)]).is_comparable


@pytest.mark.parametrize(("trials", "rates"), [(32, [0.02, 0.05, 0.1, 0.01]), (8, [0.02, 0.05]), (1, [0.02])])
def test_the_best_configurations_are_tried_first_each_once_and_leave_room(
    trials: int, rates: list[float]
) -> None:
    values = {0.01: 0.4, 0.02: 0.1, 0.05: 0.2, 0.1: 0.3, 0.2: 0.5}
    old = [record(number, value, lr=lr) for number, (lr, value) in enumerate(values.items())]
    again = record(9, 0.11, lr=0.02)
    stopped = record(10, 0.01, state=State.PRUNED, lr=0.2)
    found = look_at(replace(NEW, trials=trials), OLD, [*old, again, stopped])
    assert [one["lr"] for one in found.first] == rates
    assert ("best configuration is" if trials == 1 else f"{len(rates)} best configurations are") in found.note


def confirmation(**means: float) -> Confirmation:
    found = tuple(
        Confirmed(trial=int(trial), searched=0.1, values=(mean,), test=({},), mean=mean, low=mean, high=mean)
        for trial, mean in means.items()
    )
    return Confirmation(
        metric="val_loss",
        mode="min",
        seeds=1,
        trials=found,
        hopeless=(),
        winner=found[0].trial,
        holds=False,
        verdict="",
    )


def test_the_best_is_what_fresh_seeds_confirm() -> None:
    trials = [record(3, 0.1, lr=0.01), record(7, 0.2, lr=0.02), record(8, 0.15, lr=0.03)]
    found = look_at(NEW, OLD, trials, confirmation(**{"3": 0.9, "7": 0.2}))
    assert [one["lr"] for one in found.first] == [0.02, 0.01, 0.03]


def test_another_metric_is_refused() -> None:
    with pytest.raises(RequestError, match=r"searched by val_accuracy \(max\), but 'old' did by val_loss"):
        look_at(replace(NEW, metric="val_accuracy", mode="max"), OLD, [record(0)])


@pytest.mark.parametrize(
    "changes",
    [{"data": "parabola"}, {"model": "quick_net"}, {"epochs": 9}, {"seed": 3}, {"precision": "bf16"}],
)
def test_of_another_task_only_the_order_counts_and_that_is_said(changes: dict[str, Any]) -> None:
    found = look_at(NEW, replace(OLD, **changes), [record(0), record(1, 0.6, lr=0.02)])
    ((key, value),) = changes.items()
    assert not found.is_comparable
    assert len(found.first) == 1
    assert f"with {key} {value} it is another task, so only their order counts" in found.note


def test_of_many_trials_those_are_kept_that_are_looked_at() -> None:
    trials = [record(number, 0.2 + number / 10_000, lr=0.001 + number / 40_000) for number in range(10_000)]
    found = look_at(NEW, OLD, trials)
    numbers = [one.number for one in found.trials]
    assert len(numbers) == WINDOW
    assert numbers[:25] == list(range(25)), "the best"
    assert numbers[-1] == 9_999, "and the latest"
    assert "10000 of 10000 trials fit, of which the search sees the best and the latest, 100" in found.note
    assert len(found.to_json()) < 20_000


# ---- what the search makes of it ---------------------------------------------------------------------


Opener = Callable[..., Study]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    return lambda spec=NEW: Study(spec, tmp_path / f"{spec.name}.journal", write=True)


def away(lr: float, best: float) -> float:
    return abs(math.log10(lr) - math.log10(best))


def earlier(best: float = 0.004, scale: float = 1.0, old: SweepSpec = OLD) -> Earlier:
    """Forty trials over all learning rates, the nearer to `best` the better."""
    rates = [1e-3 * 300 ** (index / 39) for index in range(40)]
    trials = [record(n, scale * (0.1 + away(lr, best)), lr=lr) for n, lr in enumerate(rates)]
    return look_at(NEW, old, trials)


def asked(study: Study, count: int = 24) -> list[float]:
    return [float(trial.hyperparameters["lr"]) for trial in study.ask_many(count)]


def test_the_first_suggestions_are_made_where_the_earlier_sweep_was_good(opened: Opener) -> None:
    cold = median(away(lr, 0.004) for lr in asked(opened(replace(NEW, name="cold"))))
    study = opened()
    study.begin_from(earlier())
    assert median(away(lr, 0.004) for lr in asked(study)) < cold / 2


def test_the_best_configuration_is_tried_first_after_those_of_the_spec(opened: Opener) -> None:
    study = opened()
    study.begin_from(earlier())
    found = study.earlier
    assert found is not None
    study.enqueue(({"lr": 0.2}, *found.first))
    first, second = study.ask_many(2)
    assert first.hyperparameters["lr"] == 0.2
    assert found.first[0].items() <= second.hyperparameters.items()
    assert away(found.first[0]["lr"], 0.004) < 0.04  # type: ignore[arg-type]


def test_earlier_trials_are_none_of_the_new_study(opened: Opener, tmp_path: Path) -> None:
    study = opened()
    study.begin_from(earlier())
    assert [trial.number for trial in study.ask_many(3)] == [0, 1, 2]
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "new.journal")))
    assert [trial.number for trial in optuna.load_study(study_name="new", storage=storage).trials] == [
        0,
        1,
        2,
    ]
    assert study.num_ended() == 0


def test_a_resume_looks_back_on_the_same_trials(opened: Opener, tmp_path: Path) -> None:
    study = opened()
    study.begin_from(earlier())
    shutil.copy(tmp_path / "new.journal", tmp_path / "copy.journal")
    again = Study(NEW, tmp_path / "copy.journal", write=True)
    assert again.earlier == study.earlier
    assert asked(again) == asked(study)
    assert again.facts.notes() == [earlier().note]


def test_values_of_another_scale_hide_nothing_that_the_new_sweep_finds(opened: Opener) -> None:
    """The earlier data had losses a thousandth of ours, and another best learning rate."""
    study = opened()
    study.begin_from(earlier(best=0.004, scale=1e-3, old=replace(OLD, data="parabola")))
    for _ in range(20):
        for trial in study.ask_many(4):
            study.report(trial.number, 1, 0.1 + away(trial.hyperparameters["lr"], 0.03))
            study.tell(trial.number, State.COMPLETED)
    assert median(away(lr, 0.03) for lr in asked(study)) < away(0.004, 0.03) / 2


@pytest.mark.parametrize(
    ("data", "earlier_ones"),
    [("noisy_square", [40, 40, 40, 40, 25, 25]), ("parabola", [40, 0, 0, 0, 0, 0])],
    ids=["of the same task they are one history", "of another one they give way"],
)
def test_earlier_trials_beside_the_sweeps_own(opened: Opener, data: str, earlier_ones: list[int]) -> None:
    study = opened()
    study.begin_from(earlier(scale=0.1, old=replace(OLD, data=data)))
    seen = []
    for _ in range(6):
        trials = study.ask_many(20)
        window = study._proposals._window
        assert window is not None
        ended = [trial for trial in window.get_trials(deepcopy=False) if trial.state.is_finished()]
        assert len(ended) <= WINDOW
        seen.append(sum(trial.params["momentum"] == 0.5 for trial in ended))
        for trial in trials:
            study.report(trial.number, 1, 0.5)
            study.tell(trial.number, State.COMPLETED)
    assert seen == earlier_ones


@pytest.mark.parametrize("kept", ['{"trials": [{}]}', '{"trials": [], "first": {"lr": 0.1}}'])
def test_what_the_study_keeps_is_read_with_care(opened: Opener, kept: str) -> None:
    study = opened()
    study._study.set_user_attr("from", kept)
    with pytest.raises(SweepError, match="cannot be read"):
        opened()


# ---- as a user asks for it -----------------------------------------------------------------------------


def keep(home: Path, spec: SweepSpec, trials: list[tuple[float, State]]) -> None:
    """Write the folder of a sweep that has ended."""
    where = paths.SweepPaths(home, str(spec.name))
    where.folder.mkdir(parents=True)
    where.spec.write_text(notation.dump(spec))
    study = Study(spec, where.journal, write=True)
    for value, state in trials:
        number = study.ask().number
        study.report(number, 1, value)
        study.tell(number, state)


@pytest.fixture
def known(home: Path) -> Path:
    """A home with the sweep `old`, of three trials."""
    keep(home, OLD, [(0.5, State.COMPLETED), (0.4, State.PRUNED), (0.3, State.DIVERGED)])
    return home


def sweep(*options: str) -> int:
    fixed = ("--set", "dropout=0.1", "--no-search", "bn_momentum", "--epochs", "3")
    ranges = ("--search", "momentum=0:0.9", "--trials", "4")
    return main(["sweep", "net", *fixed, *ranges, *options])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--name", "new", "--from", "odl"), "Unknown sweep in"),
        (("--name", "old2", "--from", "old2"), "this one's own name"),
        (("--from", "net"), "this one's own name"),
        (("--name", "new", "--from", "../old"), "A sweep's name must be"),
        (("--name", "new", "--from", "old", "--search", "lr=0.5:1"), "none of its 3 trials fits"),
    ],
)
def test_a_wrong_from_is_refused_before_anything_is_written(
    known: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    assert sweep(*options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("error:") == 1
    assert [path.name for path in known.iterdir()] == ["old"]


def test_a_sweep_without_trials_is_no_beginning(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(home, OLD, [])
    assert sweep("--name", "new", "--from", "old") == 2
    assert "it has none yet" in capsys.readouterr().err


def test_a_confirmed_sweep_hands_on_what_its_seeds_confirm(home: Path) -> None:
    keep(home, OLD, [(0.5, State.COMPLETED), (0.4, State.COMPLETED)])
    where = paths.SweepPaths(home, "old")
    Study(OLD, where.journal, write=True).facts.set_confirmation(confirmation(**{"0": 0.5}).to_plain())
    found = plan.look_at_earlier(NEW, paths.SweepPaths(home, "new"))
    assert found is not None
    confirmed, lucky = ledger.open_sweep("old").trials
    assert [one["lr"] for one in found.first] == [trial.hyperparameters["lr"] for trial in (confirmed, lucky)]


def test_a_dry_run_says_what_would_be_taken(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("--name", "new", "--from", "old", "--cohort", "1", "--dry-run", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["from"].startswith("--from old: 2 of 3 trials fit; 1 left out (diverged or failed: 1)")
    assert facts["spec"]["from"] == "old"
    assert [path.name for path in known.iterdir()] == ["old"]


def test_every_option_has_a_key() -> None:
    spec = notation.from_plain({"model": "net", "from": "old"}, folder=Path.cwd())
    assert spec.from_ == "old"
    assert notation.to_plain_spec(spec)["from"] == "old"


def test_the_sweep_that_one_began_from_stays_as_it_was() -> None:
    assert notation.differences(NEW, replace(NEW, from_=None)) == ["from: old -> None"]
    assert notation.differences(NEW, replace(NEW, from_="older")) == ["from: old -> older"]


def test_a_whole_sweep_begins_from_another_and_goes_on_without_it(home: Path, ray_cluster: Any) -> None:
    keep(home, OLD, [(0.5, State.COMPLETED), (0.4, State.COMPLETED)])
    best = ledger.open_sweep("old").best_or_raise()
    spec = replace(
        NEW, id=None, trials=2, resources=tuning.Resources(cpus=1, gpus=0), max_concurrent=1, home=str(home)
    )
    result = tuning.sweep(spec)
    assert result.trials[0].hyperparameters == best.hyperparameters
    sweeps.assert_they_agree(result, sweeps.read("new", home, experiment="net"))
    shutil.rmtree(home / "old")
    result = tuning.sweep(replace(spec, trials=4))
    assert [trial.number for trial in result.trials] == [0, 1, 2, 3]
    sweeps.assert_they_agree(result, sweeps.read("new", home, experiment="net"))
    assert ledger.open_sweep("new").notes[0] == (
        "--from old: 2 of 2 trials fit; its best configuration is tried first"
    )
