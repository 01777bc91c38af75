"""The activations, and what stands between two layers with weights."""

from torch import nn

from models.checks import check_bn_momentum, check_dropout, unknown

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def activation_layer(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise ValueError(unknown("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]()


def between(
    n_units: int,
    activation: str | None,
    dropout: float,
    bn_momentum: float | None,
    norm: type[nn.BatchNorm1d | nn.BatchNorm2d] = nn.BatchNorm1d,
) -> nn.Module:
    """Return [batch norm] -> [dropout] -> [activation], leaving out whatever is switched off.

    One layer alone is returned bare, as a textbook would write it. Batch norm always sits at
    index 0 of a `Sequential`, so its keys stay the same whether or not there is dropout.
    """
    check_dropout(dropout)
    check_bn_momentum(bn_momentum)
    layers: list[nn.Module] = []
    if bn_momentum is not None:
        layers.append(norm(n_units, momentum=bn_momentum))
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    if activation is not None:
        layers.append(activation_layer(activation))
    if not layers:
        return nn.Identity()
    is_bare = len(layers) == 1 and bn_momentum is None
    return layers[0] if is_bare else nn.Sequential(*layers)
