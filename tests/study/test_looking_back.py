"""What the search makes of an earlier sweep's trials."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from tests.study.earlier_sweeps import NEW, OLD, record
from tuning.errors import SweepError
from tuning.records import State
from tuning.spec import SweepSpec
from tuning.study import Study
from tuning.study.earlier import Earlier, look_at
from tuning.study.suggest import WINDOW

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
    assert away(found.first[0]["lr"], 0.004) < 0.04


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
