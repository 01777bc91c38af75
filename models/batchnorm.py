"""A deep, narrow net, badly initialised on purpose: batch norm is what lets it learn."""

from torch import Tensor, nn

from models.activations import activation_layer
from models.checks import check_bn_momentum, check_dropout, check_sizes

WEIGHT_STD = 0.1
BIAS = -0.2


class BatchNormNet(nn.Module):
    def __init__(
        self,
        n_feature: int = 1,
        n_hidden: int = 10,
        n_output: int = 1,
        n_layers: int = 8,
        activation: str = "tanh",
        dropout: float = 0.0,
        bn_momentum: float | None = 0.5,
    ) -> None:
        super().__init__()
        check_sizes(n_feature=n_feature, n_hidden=n_hidden, n_output=n_output, n_layers=n_layers)
        check_dropout(dropout)
        check_bn_momentum(bn_momentum)
        self.n_layers = n_layers
        self.do_dropout = dropout > 0
        self.do_bn = bn_momentum is not None
        if bn_momentum is not None:
            self.bn_input = nn.BatchNorm1d(n_feature, momentum=bn_momentum)
        for i in range(n_layers):
            fc = nn.Linear(n_feature if i == 0 else n_hidden, n_hidden)
            self._set_init(fc)
            setattr(self, f"fc{i}", fc)
            if bn_momentum is not None:
                setattr(self, f"bn{i}", nn.BatchNorm1d(n_hidden, momentum=bn_momentum))
            if self.do_dropout:
                setattr(self, f"dropout{i}", nn.Dropout(dropout))
        self.activation = activation_layer(activation)
        self.predict = nn.Linear(n_hidden, n_output)
        self._set_init(self.predict)

    @staticmethod
    def _set_init(layer: nn.Linear) -> None:
        nn.init.normal_(layer.weight, mean=0.0, std=WEIGHT_STD)
        nn.init.constant_(layer.bias, BIAS)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (batch, n_feature) to a prediction (batch, n_output)."""
        return self.forward_with_layers(x)[0]

    def forward_with_layers(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return the prediction and, for figures, the layer inputs and the pre-activations.

        Both lists hold `n_layers + 1` tensors. The first layer input is the normalised x, the
        first "pre-activation" x itself; the others are each layer's output after and before
        batch norm and activation.
        """
        pre_activations = [x]
        if self.do_bn:
            x = self.bn_input(x)
        layer_inputs = [x]
        for i in range(self.n_layers):
            x = self._layer("fc", i)(x)
            pre_activations.append(x)
            if self.do_bn:
                x = self._layer("bn", i)(x)
            if self.do_dropout:
                x = self._layer("dropout", i)(x)
            x = self.activation(x)
            layer_inputs.append(x)
        prediction: Tensor = self.predict(x)
        return prediction, layer_inputs, pre_activations

    def _layer(self, kind: str, i: int) -> nn.Module:
        # Looked up each time: a list beside the attributes would keep layers replaced meanwhile.
        return self.get_submodule(f"{kind}{i}")
