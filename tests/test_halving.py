"""Which trials go on at a rung, and how that compares with what Optuna and Ray decide."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuning.halving import Stopper, first_share, next_stop, rungs
from tuning.spec import EarlyStopping, SweepSpec

repeatable = settings(derandomize=True, deadline=None)

Mode = Literal["min", "max"]
Curves = list[list[float]]

MODES = pytest.mark.parametrize("mode", ["min", "max"])
SIGN = {"min": 1, "max": -1}
"""A value times this is the better the lower it is."""

DIRECTION = {"min": "minimize", "max": "maximize"}
EPOCHS = 9

modes = st.sampled_from(["min", "max"])
reductions = st.integers(2, 5)
# Few different values, so that there are ties; whole ones, whose means and percentiles are exact.
values = st.integers(-20, 20).map(float)
a_curve = st.lists(values, min_size=EPOCHS, max_size=EPOCHS)
curves_ = st.lists(a_curve, min_size=1, max_size=12)


# ---- rungs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grace", "reduction", "epochs", "wanted"),
    [
        (1, 3, 5, (1, 3)),
        (1, 3, 9, (1, 3)),  # the last epoch is the end, not a rung
        (1, 3, 10, (1, 3, 9)),
        (2, 4, 100, (2, 8, 32)),
        (5, 2, 5, ()),
        (6, 2, 5, ()),
        (1, 2, 1, ()),
    ],
)
def test_rungs_are_powers_of_the_reduction_below_the_last_epoch(
    grace: int, reduction: int, epochs: int, wanted: tuple[int, ...]
) -> None:
    assert rungs(grace, reduction, epochs) == wanted


@repeatable
@given(grace=st.integers(1, 50), reduction=reductions, epochs=st.integers(1, 2000))
def test_no_rung_is_missing_or_too_many(grace: int, reduction: int, epochs: int) -> None:
    powers = [grace * reduction**n for n in range(12)]
    assert rungs(grace, reduction, epochs) == tuple(epoch for epoch in powers if epoch < epochs)


@pytest.mark.parametrize(
    ("epoch", "stop"), [(0, 1), (1, 3), (2, 3), (3, 9), (8, 9), (9, 20), (19, 20), (20, 20)]
)
def test_a_trial_trains_to_the_next_rung_or_the_end(epoch: int, stop: int) -> None:
    assert next_stop(epoch, (1, 3, 9), 20) == stop


def test_without_rungs_a_trial_trains_to_the_end() -> None:
    assert next_stop(0, (), 20) == 20


@pytest.mark.parametrize(
    ("stopping", "share"),
    [(EarlyStopping(), 1 / 9), (EarlyStopping(grace_epochs=3), 1 / 3), (EarlyStopping(kind="none"), 1.0)],
)
def test_the_first_decision_comes_after_a_share_of_a_trial(stopping: EarlyStopping, share: float) -> None:
    assert first_share(SweepSpec(model="net", epochs=9, early_stopping=stopping)) == share


def asha_goes_on(value: float, everyone: Sequence[float], reduction: int, mode: Mode) -> bool:
    """Whether the first trial with this value goes on, of all that have come to a rung."""
    stopping = EarlyStopping(kind="asha", reduction=reduction)
    stopper = Stopper(stopping, EPOCHS, mode, {n: {1: v} for n, v in enumerate(everyone)})
    number = everyone.index(value)
    return number in stopper.going_on({number}, 1)


def median_goes_on(
    own: Mapping[int, float], others: Sequence[Mapping[int, float]], epoch: int, mode: Mode
) -> bool:
    stopper = Stopper(EarlyStopping(kind="median"), EPOCHS, mode, dict(enumerate([own, *others])))
    return 0 in stopper.going_on({0}, epoch)


# ---- asha --------------------------------------------------------------------------------------


@MODES
def test_the_first_at_a_rung_goes_on(mode: Mode) -> None:
    assert asha_goes_on(5.0, [5.0], 3, mode)


@pytest.mark.parametrize(("value", "goes_on"), [(1.0, True), (2.0, True), (3.0, False), (6.0, False)])
@MODES
def test_the_best_third_of_all_values_goes_on(value: float, goes_on: bool, mode: Mode) -> None:
    sign = SIGN[mode]
    everyone = [sign * v for v in (4.0, 1.0, 6.0, 2.0, 5.0, 3.0)]
    assert asha_goes_on(sign * value, everyone, 3, mode) is goes_on


@repeatable
@given(everyone=st.lists(values, min_size=1, max_size=20), reduction=reductions, mode=modes)
def test_of_different_values_exactly_one_in_reduction_goes_on(
    everyone: list[float], reduction: int, mode: Mode
) -> None:
    different = sorted(set(everyone), reverse=mode == "max")
    going_on = [value for value in different if asha_goes_on(value, different, reduction, mode)]
    assert going_on == different[: max(len(different) // reduction, 1)]


@repeatable
@given(everyone=st.lists(values, min_size=1, max_size=20), reduction=reductions, mode=modes)
def test_maximising_is_minimising_the_negative(everyone: list[float], reduction: int, mode: Mode) -> None:
    other: Mode = "min" if mode == "max" else "max"
    negative = [-value for value in everyone]
    assert asha_goes_on(everyone[0], everyone, reduction, mode) == asha_goes_on(
        negative[0], negative, reduction, other
    )


@repeatable
@given(everyone=st.lists(values, min_size=1, max_size=20), reduction=reductions, mode=modes, data=st.data())
def test_the_order_in_which_values_came_does_not_matter(
    everyone: list[float], reduction: int, mode: Mode, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(everyone))
    value = everyone[0]
    assert asha_goes_on(value, everyone, reduction, mode) == asha_goes_on(value, shuffled, reduction, mode)


@MODES
def test_equal_values_share_a_fate(mode: Mode) -> None:
    assert all(asha_goes_on(value, [2.0] * 7, 3, mode) for value in [2.0] * 7)


def ours_one_after_another(curves: Curves, grace: int, reduction: int, mode: Mode) -> list[int]:
    """Return the epoch at which each trial ended, fed one trial after another to our rule."""
    at_rung: dict[int, list[float]] = {rung: [] for rung in rungs(grace, reduction, EPOCHS)}
    ends = []
    for curve in curves:
        end = EPOCHS
        for rung, everyone in at_rung.items():
            everyone.append(curve[rung - 1])
            if not asha_goes_on(curve[rung - 1], everyone, reduction, mode):
                end = rung
                break
        ends.append(end)
    return ends


def optunas_one_after_another(
    curves: Curves, pruner: optuna.pruners.BasePruner, mode: Mode, last: int = EPOCHS - 1
) -> list[int]:
    """Return the same of real trials of a real study; asked up to the epoch before the last."""
    study = optuna.create_study(direction=DIRECTION[mode], pruner=pruner)
    ends = []
    for curve in curves:
        trial = study.ask()
        end = EPOCHS
        for epoch, value in enumerate(curve, start=1):
            trial.report(value, epoch)
            if epoch <= last and trial.should_prune():
                end = epoch
                break
        if end < EPOCHS:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, curve[-1])
        ends.append(end)
    return ends


@settings(repeatable, max_examples=100)
@given(curves=curves_, grace=st.integers(1, 4), reduction=reductions, mode=modes)
def test_asha_ends_trials_where_optunas_successive_halving_does(
    curves: Curves, grace: int, reduction: int, mode: Mode
) -> None:
    pruner = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=grace, reduction_factor=reduction, min_early_stopping_rate=0, bootstrap_count=0
    )
    ours = ours_one_after_another(curves, grace, reduction, mode)
    assert ours == optunas_one_after_another(curves, pruner, mode)


# ---- asha beside Ray's ---------------------------------------------------------------------------
#
# Ray's AsyncHyperBandScheduler stops a value that is strictly worse than the percentile 100/reduction
# (interpolated between neighbours) of the EARLIER values of the rung; ours and Optuna's keep a value
# that is among the best `len // reduction` (at least one) of ALL values, its own included. So Ray's
# rule is the laxer one: it keeps whatever ours keeps, and around the cutoff one or two ranks more.


@pytest.fixture(scope="module")
def ray_trial() -> Iterator[Any]:
    """Make real trials of Ray Tune that are attached to no trainable."""
    from ray.tune.experiment import Trial

    number = iter(range(10**9))

    def make() -> Any:
        return Trial("none", stub=True, trial_id=f"trial{next(number)}")

    yield make


def rays_decisions(everyone: list[float], reduction: int, mode: Mode, trial: Any) -> list[bool]:
    """Return whether each value, one after another at a first rung, goes on with Ray's ASHA."""
    from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

    scheduler = AsyncHyperBandScheduler(
        "epoch", "value", mode, max_t=1000, grace_period=1, reduction_factor=reduction
    )
    decisions = []
    for value in everyone:
        one = trial()
        scheduler.on_trial_add(None, one)  # type: ignore[arg-type]  # it asks nothing of the controller
        decision = scheduler.on_trial_result(None, one, {"epoch": 1, "value": value})  # type: ignore[arg-type]
        decisions.append(decision == TrialScheduler.CONTINUE)
    return decisions


def our_decisions(everyone: list[float], reduction: int, mode: Mode) -> list[bool]:
    return [asha_goes_on(v, everyone[: i + 1], reduction, mode) for i, v in enumerate(everyone)]


@settings(repeatable, max_examples=100)
@given(everyone=st.lists(values, min_size=1, max_size=25), reduction=reductions, mode=modes)
def test_rays_asha_keeps_whatever_ours_keeps(
    ray_trial: Any, everyone: list[float], reduction: int, mode: Mode
) -> None:
    ours, rays = (
        our_decisions(everyone, reduction, mode),
        rays_decisions(everyone, reduction, mode, ray_trial),
    )
    assert [i for i, keeps in enumerate(ours) if keeps and not rays[i]] == []


@settings(repeatable, max_examples=100)
@given(everyone=st.lists(values, min_size=2, max_size=25), reduction=reductions, mode=modes)
def test_both_keep_the_best_so_far_and_stop_the_worst_so_far(
    ray_trial: Any, everyone: list[float], reduction: int, mode: Mode
) -> None:
    ours, rays = (
        our_decisions(everyone, reduction, mode),
        rays_decisions(everyone, reduction, mode, ray_trial),
    )
    cost = [SIGN[mode] * value for value in everyone]
    best = [i for i in range(len(cost)) if cost[i] <= min(cost[: i + 1])]
    worst = [i for i in range(1, len(cost)) if cost[i] > max(cost[:i])]
    assert all(ours[i] and rays[i] for i in best)
    assert not any(ours[i] or rays[i] for i in worst)


@settings(repeatable, max_examples=100)
@given(everyone=st.lists(values, min_size=2, max_size=25, unique=True), reduction=reductions, mode=modes)
def test_they_differ_in_no_more_than_the_two_ranks_at_the_cutoff(
    ray_trial: Any, everyone: list[float], reduction: int, mode: Mode
) -> None:
    ours, rays = (
        our_decisions(everyone, reduction, mode),
        rays_decisions(everyone, reduction, mode, ray_trial),
    )
    cost = [SIGN[mode] * value for value in everyone]
    for i in [i for i in range(len(cost)) if ours[i] != rays[i]]:
        num_better = sum(earlier < cost[i] for earlier in cost[:i])
        num_kept = max((i + 1) // reduction, 1)
        assert num_kept <= num_better <= num_kept + 1


@MODES
def test_where_they_differ(ray_trial: Any, mode: Mode) -> None:
    """Of four values a third is one: ours keeps the best. Ray's cutoff lies a third of the way from
    the earlier 5 to the earlier 1, at 3.67."""
    everyone = [SIGN[mode] * value for value in (1.0, 10.0, 5.0, 2.0)]
    assert our_decisions(everyone, 3, mode) == [True, False, False, False]
    assert rays_decisions(everyone, 3, mode, ray_trial) == [True, False, False, True]


# ---- median ------------------------------------------------------------------------------------


@MODES
def test_without_others_at_that_epoch_a_trial_goes_on(mode: Mode) -> None:
    assert median_goes_on({1: 9.0}, [], 1, mode)
    assert median_goes_on({1: 9.0, 2: 9.0}, [{1: 1.0}, {1: 1.0}], 2, mode)


@pytest.mark.parametrize(
    ("own", "goes_on"),
    [
        ({1: 9.0, 2: 3.0}, True),  # as good as the median: 3
        ({1: 2.5, 2: 9.0}, True),  # its best value counts, not its last
        ({1: 9.0, 2: 3.1}, False),
        ({1: 9.0, 2: 3.1, 3: 0.0}, False),  # what comes after that epoch does not count
    ],
)
@MODES
def test_the_best_value_is_held_against_the_median_of_running_means(
    own: dict[int, float], goes_on: bool, mode: Mode
) -> None:
    sign = SIGN[mode]
    others = [{1: 2.0, 2: 0.0, 3: 99.0}, {1: 4.0, 2: 2.0}, {1: 8.0, 2: 8.0}, {1: 0.0}]  # means 1, 3, 8; none
    signed = [{epoch: sign * value for epoch, value in other.items()} for other in others]
    assert median_goes_on({e: sign * v for e, v in own.items()}, signed, 2, mode) is goes_on


@settings(repeatable, max_examples=100)
@given(curves=st.lists(a_curve, min_size=2, max_size=8), epoch=st.integers(1, EPOCHS), mode=modes)
def test_median_decides_as_rays_median_stopping_rule(
    ray_trial: Any, curves: Curves, epoch: int, mode: Mode
) -> None:
    """Ray's with one other trial as enough, and means from the first epoch on."""
    from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

    rule = MedianStoppingRule(
        "epoch", "value", mode, grace_period=1, min_samples_required=1, min_time_slice=float("inf")
    )
    *others, own = [{e: v for e, v in enumerate(curve, start=1)} for curve in curves]
    for other in others:
        trial = ray_trial()
        for at, value in other.items():
            # What Ray decided of the others does not matter here: they are fed to the end.
            rule._stopped_trials.discard(trial)
            rule.on_trial_result(None, trial, {"epoch": at, "value": value})  # type: ignore[arg-type]
    trial = ray_trial()
    for at in range(1, epoch + 1):
        rule._stopped_trials.discard(trial)
        decision = rule.on_trial_result(None, trial, {"epoch": at, "value": own[at]})  # type: ignore[arg-type]
    assert median_goes_on(own, others, epoch, mode) == (decision == TrialScheduler.CONTINUE)


@settings(repeatable, max_examples=50)
@given(levels=st.lists(values, min_size=2, max_size=8), mode=modes)
def test_on_level_curves_median_decides_as_optunas_median_pruner(levels: list[float], mode: Mode) -> None:
    """Optuna's holds the best value against the median of the others' values AT that epoch, not of their
    means, and only of completed trials: on level curves of completed trials the two are one."""
    *others, own = levels
    study = optuna.create_study(
        direction=DIRECTION[mode], pruner=optuna.pruners.MedianPruner(n_startup_trials=0)
    )
    for level in others:
        trial = study.ask()
        trial.report(level, 1)
        trial.report(level, 2)
        study.tell(trial, level)
    trial = study.ask()
    trial.report(own, 1)
    trial.report(own, 2)
    assert (
        median_goes_on({1: own, 2: own}, [{1: v, 2: v} for v in others], 2, mode) is not trial.should_prune()
    )


def test_where_median_differs_from_optunas() -> None:
    """A curve that falls from 10 to 1 has a mean of 5.5: 3 is better than that, but worse than 1."""
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=0))
    done, trial = study.ask(), study.ask()
    done.report(10.0, 1)
    done.report(1.0, 2)
    study.tell(done, 1.0)
    trial.report(3.0, 1)
    trial.report(3.0, 2)
    assert trial.should_prune()
    assert median_goes_on({1: 3.0, 2: 3.0}, [{1: 10.0, 2: 1.0}], 2, "min")


@repeatable
@given(curves=st.lists(a_curve, min_size=1, max_size=8), epoch=st.integers(1, EPOCHS), mode=modes)
def test_the_best_of_all_goes_on_by_either_rule(curves: Curves, epoch: int, mode: Mode) -> None:
    sign = SIGN[mode]
    best = min(range(len(curves)), key=lambda i: sign * curves[i][epoch - 1])
    own, *others = [dict(enumerate(c, start=1)) for c in (curves[best], *curves[:best], *curves[best + 1 :])]
    assert asha_goes_on(own[epoch], [curve[epoch - 1] for curve in curves], 3, mode)
    assume(all(sign * own[e] <= sign * other[e] for other in others for e in range(1, epoch + 1)))
    assert median_goes_on(own, others, epoch, mode)
