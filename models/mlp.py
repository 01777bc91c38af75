"""One hidden layer, written twice: as a class, and quickly as a `Sequential`."""

from torch import Tensor, nn

from models.activations import between
from models.checks import check_sizes


class Net(nn.Module):
    def __init__(
        self,
        n_feature: int = 1,
        n_hidden: int = 10,
        n_output: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        bn_momentum: float | None = None,
    ) -> None:
        super().__init__()
        check_sizes(n_feature=n_feature, n_hidden=n_hidden, n_output=n_output)
        self.hidden = nn.Linear(n_feature, n_hidden)
        self.between = between(n_hidden, activation, dropout, bn_momentum)
        self.predict = nn.Linear(n_hidden, n_output)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (batch, n_feature) to a prediction (batch, n_output)."""
        x = self.between(self.hidden(x))
        prediction: Tensor = self.predict(x)
        return prediction


def quick_net(
    n_feature: int = 1,
    n_hidden: int = 10,
    n_output: int = 1,
    activation: str = "relu",
    dropout: float = 0.0,
    bn_momentum: float | None = None,
) -> nn.Sequential:
    check_sizes(n_feature=n_feature, n_hidden=n_hidden, n_output=n_output)
    return nn.Sequential(
        nn.Linear(n_feature, n_hidden),
        between(n_hidden, activation, dropout, bn_momentum),
        nn.Linear(n_hidden, n_output),
    )
