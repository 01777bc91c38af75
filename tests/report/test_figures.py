"""What the figures of a report show, as values."""

import math
from typing import Any

import pytest

from tests.report import made_up
from tests.report.made_up import FOUR, seen, span, trace, trial
from tuning.records import State, TrialRecord
from tuning.report import palette, scale
from tuning.report.curves import curves
from tuning.report.history import history, hours
from tuning.report.importances import compared, importances, importances_of
from tuning.report.parameters import parallel, slices
from tuning.report.rungs import rungs, rungs_of
from tuning.report.sample import sample, thinned
from tuning.report.timeline import timeline
from tuning.report.view import view
from tuning.report.write import PANELS
from tuning.space import Choice, Float

# ---- history and hours -------------------------------------------------------------------------


def test_the_history_has_every_trial_and_the_best_so_far_of_the_completed_ones() -> None:
    panel = history(seen(*FOUR))
    assert panel.title == "The best val_loss came to 0.1 with trial 2, from 0.3 with trial 0"
    line = trace(panel, "best so far")
    assert (list(line.x), list(line.y)) == ([0, 2, 3], [0.3, 0.1, 0.1])
    assert (list(trace(panel, "pruned").x), list(trace(panel, "pruned").y)) == ([1], [0.9])
    assert list(trace(panel, "diverged").y) == [0.9], "without a value it stands at the bad edge"


def test_of_a_metric_of_which_more_is_better_the_best_so_far_rises() -> None:
    trials = [trial(0, [0.5, 0.7], mode="max"), trial(1, [0.6], mode="max"), trial(2, [0.9], mode="max")]
    line = trace(history(seen(*trials, metric="val_accuracy", mode="max")), "best so far")
    assert list(line.y) == [0.7, 0.9, 0.9]


def test_hours_count_epochs_in_the_order_in_which_trials_ended() -> None:
    late = trial(0, [0.3, 0.2], spans=(span(0, 9),))
    early = trial(1, [0.5, 0.4, 0.4], spans=(span(0, 5),))
    panel = hours(seen(late, early))
    line = trace(panel, "best so far")
    assert panel.title == "The best trial had ended after 18 of 18 CPU-seconds"
    assert list(line.x) == pytest.approx([10.8, 18.0, 18.0]), "an epoch takes 3.6 s"
    assert list(line.y) == [0.4, 0.2, 0.2]


# ---- learning curves ---------------------------------------------------------------------------


def test_few_curves_have_a_line_each_named_by_what_the_trials_differ_in() -> None:
    tried = [{"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.8}, {"optimizer": "adam"}]
    trials = [trial(i, [1.0, 0.5 + i], hyperparameters={**one, "lr": 0.01}) for i, one in enumerate(tried)]
    panel = curves(seen(*trials, search={}, fixed={"lr": 0.01}, try_=tried))
    lines = {one.name: list(one.y) for one in panel.figure.data if one.mode == "lines"}
    assert lines == {
        "trial 0: optimizer=sgd": [1.0, 0.5],
        "trial 1: optimizer=sgd momentum=0.8": [1.0, 1.5],
        "trial 2: optimizer=adam": [1.0, 2.5],
    }
    assert list(trace(panel, "completed").y) == [0.5, 1.5, 2.5], "a mark at the end of each tells the state"


def test_a_value_at_the_edge_is_told_as_it_is() -> None:
    good = [trial(i, [0.97, 0.98], mode="max") for i in range(20)]
    panel = curves(seen(*good, trial(20, [0.11, 0.12], mode="max"), metric="val_accuracy", mode="max"))
    found = trace(panel, "completed")
    assert found.customdata[-3:-1] == ([20, 0.11], [20, 0.12]) and found.y[-3] == found.y[-2] > 0.12


def test_many_curves_are_one_trace_per_state_with_a_gap_between_any_two() -> None:
    panel = curves(seen(*[trial(i, [0.5, 0.4]) for i in range(9)], trial(9, [0.9], State.PRUNED)))
    assert list(trace(panel, "completed").x)[:6] == [1, 2, None, 1, 2, None]
    assert list(trace(panel, "completed").customdata)[:4] == [[0, 0.5], [0, 0.4], None, [1, 0.5]]
    assert list(trace(panel, "pruned").y) == [0.9, None]
    assert panel.title == "Learning curves: 0 of 10 trials have trained for all 4 epochs"


@pytest.mark.parametrize("state", list(State))
def test_a_state_has_one_colour_in_every_figure(state: State) -> None:
    trials = [trial(i, [0.5, 0.4], state, spans=(span(i, i + 1),)) for i in range(9)]
    panels = [draw(seen(*trials)) for draw in (history, curves, slices, timeline)]
    colours = {
        one.marker.color or one.line.color
        for panel in panels
        for one in panel.figure.data
        if one.name == state.value
    }
    assert colours - {None} == {palette.COLOURS[state]} and len(set(palette.COLOURS.values())) == len(State)


# ---- the metric's axis -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "values", "low", "high", "log"),
    [
        ("min", [0.1, 0.2, 0.3], 0.1, 0.3, False),
        ("min", [0.001, 0.01, 1.0], 0.001, 1.0, True),
        ("min", [0.001, 0.01, 1e30], 0.001, 100.0, True),
        ("max", [0.1, 0.9], 0.1, 0.9, False),
        ("min", [0.5], 0.475, 0.525, False),
        ("min", [math.nan, math.inf], 0.0, 1.0, False),
        ("min", [], 0.0, 1.0, False),
    ],
)
def test_the_axis_fits_what_is_worth_seeing(
    mode: Any, values: list[float], low: float, high: float, log: bool
) -> None:
    fitted = scale.fit("val_loss", mode, values)
    assert (fitted.low, fitted.high, fitted.log) == (pytest.approx(low), pytest.approx(high), log)


def test_what_is_beyond_the_axis_stands_at_its_edge() -> None:
    fitted = scale.fit("val_loss", "min", [0.001, 0.01, 1e30])
    assert [fitted.clip(value) for value in (0.5, 1e30, math.nan, None)] == [0.5, 100.0, 100.0, 100.0]


# ---- hyperparameters ---------------------------------------------------------------------------


def test_parallel_coordinates_have_an_axis_per_hyperparameter_lr_on_a_log_scale() -> None:
    adagrad = {"lr": 1e-4, "optimizer": "adagrad"}
    panel = parallel(seen(*FOUR, trial(4, [0.2], hyperparameters=adagrad)))
    (lines,) = panel.figure.data
    axes = {dimension.label: dimension for dimension in lines.dimensions}
    assert list(axes) == ["lr", "momentum", "optimizer", "epochs", "val_loss"]
    assert list(axes["lr"].ticktext) == ["0.0001", "0.001", "0.01", "0.1", "1"]
    assert list(axes["lr"].tickvals) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert sorted(axes["lr"].values) == pytest.approx([0.0, 0.5, 0.5, 0.5, 0.5])
    assert (
        axes["momentum"].ticktext[0] == "none" and min(axes["momentum"].values) == axes["momentum"].range[0]
    )
    assert list(axes["optimizer"].ticktext) == ["sgd", "adam", "adagrad"]
    assert list(axes["epochs"].values) == [0.25, 0.0, 1.0, 0.25, 1.0], (
        "the best is drawn last, over the others"
    )


def test_a_trial_that_came_to_grief_is_not_drawn_as_the_best() -> None:
    diverged = trial(4, [0.01], State.DIVERGED)
    (lines,) = parallel(seen(*FOUR[:3], diverged, early_stopping=made_up.NONE)).figure.data
    values = next(list(axis.values) for axis in lines.dimensions if axis.label == "val_loss")
    assert values[0] == 1.0, "the bad edge, drawn first"
    assert values[-1] > 0.0, "the best is one that completed"


def test_a_slice_shows_a_hyperparameter_against_the_values() -> None:
    trials = [
        trial(i, [v], hyperparameters={"lr": lr}) for i, (lr, v) in enumerate([(1e-3, 0.4), (0.1, 0.2)])
    ]
    panel = slices(seen(*trials, search={"lr": Float(1e-3, 0.1, log=True)}))
    (marks,) = panel.figure.data
    assert (list(marks.x), list(marks.y)) == ([0.0, 1.0], [0.4, 0.2])
    assert panel.figure.layout.xaxis.title.text == "lr"


def test_a_mark_in_a_slice_tells_its_own_hyperparameter_alone() -> None:
    (marks,) = slices(seen(trial(7, [0.5, 0.25]), search={"lr": Float(1e-3, 0.1)})).figure.data  # type: ignore[union-attr]
    assert [tuple(found) for found in marks.customdata] == [(7, "0.25", "0.01")] and marks.text is None
    assert marks.hovertemplate.startswith("trial %{customdata[0]}, completed<br>val_loss %{customdata[1]}")
    assert marks.hovertemplate.endswith("<br>lr = %{customdata[2]}<extra></extra>")


def test_of_very_many_hyperparameters_fewer_trials_are_drawn_and_that_is_said() -> None:
    more = made_up.more_hyperparameters(61)
    looked = view(made_up.sweep(made_up.search(300, more=more), search={**made_up.SEARCH, **more}))
    for panel in (slices(looked), parallel(looked)):
        assert panel.figure is not None and "those of 250 trials are drawn" in panel.text
    assert sum(len(one.x) for one in slices(looked).figure.data if one.xaxis == "x") == 250  # type: ignore[union-attr]
    assert len(parallel(looked).figure.data[0].dimensions[0]["values"]) == 250  # type: ignore[union-attr]
    said = trace(history(looked), "completed").text[0]
    assert said.count("<br>") == 2 + 16 and said.endswith("<br>and 48 more, in the table")


@pytest.mark.parametrize("choices", [("a", "b"), (True, False), (16, 32), (1, True)])
def test_choices_of_any_kind_have_a_place_each(choices: tuple[Any, Any]) -> None:
    trials = [trial(i, [0.5], hyperparameters={"batch_size": c}) for i, c in enumerate(choices)]
    panel = parallel(seen(*trials, search={"n_hidden": Choice((1, 2)), "width": Choice(choices)}))
    assert panel.figure is not None
    renamed = [trial(i, [0.5], hyperparameters={"width": c}) for i, c in enumerate(choices)]
    axes = parallel(seen(*renamed, search={"width": Choice(choices)})).figure
    assert axes is not None and sorted(axes.data[0].dimensions[0].values) == [0.0, 1.0]


# ---- importances -------------------------------------------------------------------------------


def test_trials_are_compared_at_the_epoch_that_all_have_reached() -> None:
    found = compared(seen(*FOUR, trial(4, [0.7, 0.3], State.FAILED), trial(5, [0.8], State.RUNNING)))
    assert found is not None and found.epoch == 1
    assert {n: v for n, v in found.values.items() if n != 3} == {0: 0.5, 1: 0.9, 2: 0.6, 4: 0.7, 5: 0.8}
    assert found.values[3] > 0.9 and found.diverged == 1, "one that had diverged by then is worse than all"


def test_without_early_stopping_trials_are_compared_by_the_best_of_all_their_epochs() -> None:
    found = compared(seen(FOUR[0], FOUR[2]))
    assert found is not None and (found.epoch, found.values) == (4, {0: 0.3, 2: 0.1})


def test_the_importance_is_of_what_matters_although_the_bad_trials_were_stopped() -> None:
    looked = view(made_up.sweep(made_up.search(300)))
    found = compared(looked)
    assert found is not None and found.epoch == 1
    shares = importances_of(looked, found)
    assert next(iter(shares)) == "lr" and shares["lr"] > 0.9
    assert sum(shares.values()) == pytest.approx(1.0)
    panel = importances(looked)
    assert panel.title == "lr matters most for coming among the best" and "at epoch 1" in panel.text
    assert "how the best 10% are spread" in panel.text
    few = importances(view(made_up.sweep(made_up.search(32))))
    assert "how the best 16% are spread" in few.text, "5 of 32"


def test_of_few_trials_no_importance_is_claimed() -> None:
    panel = importances(seen(*FOUR))
    assert panel.figure is None and "4 trials can be compared; of fewer than 10" in panel.text


# ---- rungs -------------------------------------------------------------------------------------


def test_a_rung_tells_who_came_who_went_on_and_who_was_stopped() -> None:
    looked = seen(*FOUR, trial(4, [0.7, 0.6, 0.5], State.PRUNED), trial(5, [0.4], State.INTERRUPTED))
    one, three = rungs_of(looked)
    numbers = [[t.number for t in group] for group in (one.went_on, one.stopped, one.undecided)]
    assert (one.epoch, numbers) == (1, [[0, 2, 4], [1], [5]])
    assert (three.epoch, three.came, [t.number for t in three.stopped]) == (3, 3, [4])
    panel = rungs(looked)
    assert panel.title == "2 of 5 trials that came to the first rung were stopped early, there or later"
    bars = {bar.name: list(bar.y) for bar in panel.figure.data if bar.type == "bar"}
    assert bars == {"went on": [3, 2], "stopped": [1, 1], "undecided": [1, 0]}
    marks = [one for one in panel.figure.data if one.type == "scatter" and one.name == "stopped"]
    assert list(marks[0].y) == [0.9, 0.5], "the values at the rungs"


def test_a_sweep_without_early_stopping_has_no_rungs() -> None:
    panel = rungs(seen(*FOUR, early_stopping=made_up.NONE))
    assert panel.figure is None and panel.text == "The sweep asks for none."


# ---- samples -----------------------------------------------------------------------------------


def test_a_sample_has_the_best_and_is_the_same_each_time() -> None:
    trials = made_up.search(5000)
    drawn = sample(trials, 100, "min")
    assert drawn == sample(trials, 100, "min") and len(drawn) == 100
    best = sorted((t for t in trials if t.value is not None), key=lambda t: (t.value, t.number))[:20]
    assert {t.number for t in best} <= {t.number for t in drawn}
    assert [t.number for t in drawn] == sorted(t.number for t in drawn)
    assert {t.state for t in drawn} == {State.COMPLETED, State.PRUNED, State.DIVERGED}


def test_thinning_keeps_both_ends() -> None:
    assert thinned(range(1, 101), 4) == [1, 34, 67, 100]
    assert thinned([3, 1, 2], 10) == [1, 2, 3]


# ---- what there may not be ---------------------------------------------------------------------

SINGLE = {"lr": Float(1e-4, 1.0, log=True)}

SOME: list[dict[str, Any]] = [
    {"bn_momentum": None if i % 3 == 0 else 0.1, "width": 8 + i if i % 2 else 8.5 - i / 2} for i in range(14)
]

DECAYS = (0, 0.0, 1e-4, True, 1)

EDGES: dict[str, tuple[list[TrialRecord], dict[str, Any]]] = {
    "no trial": ([], {}),
    "no trial with a value": ([trial(0, [], State.RUNNING), trial(1, [], State.FAILED, cause="x")], {}),
    "none completed": ([trial(0, [0.5], State.PRUNED), trial(1, [0.4], State.PRUNED)], {}),
    "NaN at every epoch": ([trial(0, [math.nan, math.inf], State.DIVERGED)], {}),
    "NaN among values": ([trial(i, [0.5, math.nan, 0.1 * i + 0.1]) for i in range(12)], {}),
    "one hyperparameter": ([trial(i, [0.5 / (i + 1)]) for i in range(12)], {"search": SINGLE}),
    "no value where others have one": (
        [trial(i, [0.5 / (i + 1)], hyperparameters={"lr": 0.1, **one}) for i, one in enumerate(SOME)],
        {"search": SINGLE, "try_": SOME},
    ),
    "numbers that are equal and not the same": (
        [
            trial(i, [0.5 / (i + 1)], hyperparameters={"decay": (0, 0.0, 1e-4, True, 1)[i % 5]})
            for i in range(12)
        ],
        {"search": SINGLE, "try_": [{"decay": 0}, {"decay": 0.0}, {"decay": 1e-4}, {"decay": True}]},
    ),
    "nothing searched": ([trial(0, [0.5])], {"search": {}}),
    "equal values": ([trial(i, [0.5]) for i in range(12)], {}),
    "one epoch": ([trial(i, [0.5 + i]) for i in range(12)], {"epochs": 1}),
    "accuracy": (
        [trial(i, [0.5, 0.01 * i], mode="max") for i in range(12)],
        {"metric": "val_accuracy", "mode": "max"},
    ),
    "a span without length": ([trial(0, [0.5], spans=(span(3, 3),))], {}),
}


@pytest.mark.parametrize("draw", PANELS, ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("case", EDGES)
def test_each_figure_bears_what_a_sweep_may_be(case: str, draw: Any) -> None:
    trials, spec = EDGES[case]
    panel = draw(seen(*trials, **spec))
    assert panel.title and panel.text
    assert panel.figure is None or ("NaN" not in panel.figure.to_json() and len(panel.figure.data) > 0)


@pytest.mark.parametrize("draw", PANELS, ids=lambda draw: draw.__name__)
def test_a_sweep_without_trials_says_so_instead_of_drawing(draw: Any) -> None:
    panel = draw(seen())
    assert panel.figure is None and (
        panel.text.startswith("No trial")
        or "nothing" in panel.text
        or "Trials differ" in panel.text
        or "none has reported yet" in panel.text
    )


def test_of_a_sweep_without_a_value_no_history_is_drawn() -> None:
    panel = history(seen(trial(0, [math.nan], State.DIVERGED)))
    assert panel.figure is None and panel.text == "No trial has a value."
