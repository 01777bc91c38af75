"""Predictions against data: in raw units, and the same that the metrics are made of."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import models
from tuning import data
from tuning.engine import solo
from tuning.engine.batches import Batches
from tuning.inspection import fits
from tuning.inspection.subject import CPU, sample

X = torch.linspace(-1, 1, 50).unsqueeze(1)


def test_with_dropout_off_the_curve_is_what_the_model_predicts() -> None:
    model = models.build("dropout_net", dropout=0.5)
    curve = fits.predicted_curve("off", model, X)
    assert torch.equal(curve.y, model.eval()(X).squeeze(1).detach())


def test_with_dropout_on_predictions_vary_around_it_and_running_statistics_stay() -> None:
    model = models.build("dropout_net", dropout=0.5, bn_momentum=0.1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    curve, again = (fits.dropout_curve("on", model, X) for _ in range(2))
    assert curve.deviation is not None and bool((curve.deviation > 0).all())
    assert torch.equal(curve.y, again.y), "the masks are the same each time"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(("dropout", "has"), [(0.0, False), (0.3, True)])
def test_a_model_has_dropout_if_it_drops_something(dropout: float, has: bool) -> None:
    assert fits.has_dropout(nn.Sequential(nn.Linear(1, 1), nn.Dropout(dropout))) is has


def test_the_points_of_a_curve_are_the_raw_data() -> None:
    """x^2 - 5 with noise of deviation 2, of x from -7 to 10: not of the x that the model sees."""
    splits = data.load("parabola", seed=0)
    train, test = splits.train[:], splits.test[:]
    curve = fits.predicted_curve("prediction", models.build("net"), fits.grid([train[0], test[0]]))
    figure = fits.curve_figure(splits, [curve], train, test)
    points, _, line = figure.data
    x, y = torch.tensor(points.x), torch.tensor(points.y)
    assert len(x) == 2000
    assert float((y - (x.square() - 5)).std()) == pytest.approx(2, abs=0.1)
    assert (line.x[0], line.x[-1]) == pytest.approx((-7, 10), abs=0.02)


def test_numbers_of_words_are_no_curve() -> None:
    real = data.load("parabola", seed=0)
    words = replace(real, preprocess={**real.preprocess, "dtype": "int64"})
    assert fits.is_curve(real) and not fits.is_curve(words), "between two words there is nothing"


def test_the_series_is_what_the_recorded_loss_is_made_of() -> None:
    splits, model = data.load("sine", seed=0), models.build("rnn").eval()
    targets, outputs = fits.predict_all(model, sample(splits, "validation", 1000, 256), carry=True)
    figure = fits.series_figure(splits, targets, outputs)
    true, predicted = (torch.tensor(trace.y, dtype=torch.float64) for trace in figure.data)
    batches = Batches(splits.validation, 1, CPU, ordered=True).in_order()
    wanted = solo.evaluate(model, batches, splits)["val_loss"]
    assert float((true - predicted).square().mean()) == pytest.approx(wanted, rel=1e-5)


def test_patients_are_drawn_in_the_units_of_their_disease() -> None:
    from sklearn.datasets import load_diabetes

    splits = data.load("diabetes", seed=0)
    targets = splits.validation[:][1]
    _, points = fits.scatter_figure(splits, targets, torch.zeros_like(targets)).data
    raw = set(load_diabetes().target.tolist())
    assert {round(value) for value in points.x} <= raw
    assert min(abs(value - round(value)) for value in points.x) < 1e-3


@pytest.mark.parametrize("outputs", [2, 9])
def test_the_first_outputs_get_a_panel_each(outputs: int) -> None:
    splits = data.load("noisy_square", seed=0)
    values = torch.randn(5, 3, outputs)
    figure = fits.scatter_figure(splits, values, values)
    assert len(figure.data) == 2 * min(outputs, fits.MAX_OUTPUTS)
    assert len(figure.data[1].x) == 15, "all time steps of all windows"
