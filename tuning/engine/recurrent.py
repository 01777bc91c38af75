"""Recurrent layers written out step by step, of operations that `vmap` can carry."""

from typing import Any

import torch
from torch import Tensor, nn

from tuning.engine.rows import CannotStack


class StackedRecurrent(nn.Module):
    """`nn.RNN`, `nn.GRU` or `nn.LSTM`, written out step by step as their documentation defines them."""

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        if module.dropout and module.num_layers > 1:
            raise CannotStack(
                f"{type(module).__name__} with dropout between its layers draws masks of its own"
            )
        self.mode, self.num_layers = module.mode, module.num_layers
        self.batch_first, self.has_bias = module.batch_first, module.bias
        self.suffixes = ["", "_reverse"] if module.bidirectional else [""]
        self.hidden_size, self.proj_size = module.hidden_size, module.proj_size
        for name, parameter in module.named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        if x.dim() != 3:
            raise CannotStack(f"{self.mode} takes an input of {x.dim()} dimensions; 3 can be stacked")
        x = x.permute(1, 2, 0) if self.batch_first else x.permute(0, 2, 1)  # (time, features, batch)
        lasts: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self.suffixes:
                first = self._first(x, hx, len(lasts))
                states, last = self._run(x.flip(0) if suffix else x, first, f"l{layer}{suffix}")
                outputs.append(states.flip(0) if suffix else states)
                lasts.append(last)
            x = torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]
        output = x.permute(2, 0, 1) if self.batch_first else x.permute(0, 2, 1)
        hidden = tuple(torch.stack([part.mT for part in parts]) for parts in zip(*lasts, strict=True))
        return output, hidden if self.mode == "LSTM" else hidden[0]

    def _first(self, x: Tensor, hx: Any, index: int) -> tuple[Tensor, ...]:
        """Return the first state of a layer and direction, (features, batch) each."""
        if hx is not None:
            return tuple(part[index].mT for part in (hx if isinstance(hx, tuple) else (hx,)))
        zeros = x.new_zeros(self.proj_size or self.hidden_size, x.shape[2])
        return (zeros, x.new_zeros(self.hidden_size, x.shape[2])) if self.mode == "LSTM" else (zeros,)

    def _run(self, x: Tensor, first: tuple[Tensor, ...], suffix: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return all outputs, (time, features, batch), and the last state."""
        weight_hh = getattr(self, f"weight_hh_{suffix}")
        bias_hh = getattr(self, f"bias_hh_{suffix}")[:, None] if self.has_bias else None
        from_inputs = self._projected(x, suffix, bias_hh)
        state, outputs = first, []
        for from_input in from_inputs.unbind(0):
            from_state = weight_hh @ state[0]
            if self.mode == "GRU" and bias_hh is not None:
                from_state = from_state + bias_hh
            state = self._cell(from_input, from_state, state, suffix)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def _projected(self, x: Tensor, suffix: str, bias_hh: Tensor | None) -> Tensor:
        """Return what the inputs of all time steps contribute to the gates, (time, gates, batch)."""
        time, _, batch = x.shape
        y: Tensor = getattr(self, f"weight_ih_{suffix}") @ x.transpose(0, 1).flatten(1)
        if self.has_bias:
            y = y + getattr(self, f"bias_ih_{suffix}")[:, None]
            if bias_hh is not None and self.mode != "GRU":
                y = y + bias_hh
        return y.view(-1, time, batch).transpose(0, 1)

    def _cell(
        self, from_input: Tensor, from_state: Tensor, state: tuple[Tensor, ...], suffix: str
    ) -> tuple[Tensor, ...]:
        if self.mode == "LSTM":
            inlet, forget, candidate, outlet = (from_input + from_state).chunk(4)
            cell = forget.sigmoid() * state[1] + inlet.sigmoid() * candidate.tanh()
            hidden = outlet.sigmoid() * cell.tanh()
            return (getattr(self, f"weight_hr_{suffix}") @ hidden if self.proj_size else hidden), cell
        if self.mode == "GRU":
            reset_in, update_in, new_in = from_input.chunk(3)
            reset_hh, update_hh, new_hh = from_state.chunk(3)
            update = (update_in + update_hh).sigmoid()
            new = (new_in + (reset_in + reset_hh).sigmoid() * new_hh).tanh()
            return ((1 - update) * new + update * state[0],)
        total = from_input + from_state
        return (total.tanh() if self.mode == "RNN_TANH" else total.relu(),)
