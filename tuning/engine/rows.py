"""Models as rows: all tensors of a model, flattened, lie side by side in one row per type.

So K models of one structure are one tensor (two or three where types differ), however many layers they
have: for an update rule, a copy of the best epoch and a resume file. A model's tensors are views of its row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Rows = dict[str, Tensor]
"""(models, elements) by the name of the type."""


class CannotStack(Exception):
    """A model has to be trained alone; says which operation, and why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tensor lies in a row."""

    dtype: str
    start: int
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.start + torch.Size(self.shape).numel()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tensors of a model lie; the trained parameters come first, in the model's own order."""

    places: dict[str, Place]
    """By name; a tensor that has several has its first one."""
    keys: dict[str, str]
    """Name by key of the `state_dict`."""
    trained: dict[str, int]
    """Index among all parameters, which is how torch.optim numbers them, by name of a trained one."""

    @classmethod
    def of(cls, model: nn.Module) -> "Layout":
        """Lay out a model.

        Raises:
            CannotStack: nothing to train, several types, foreign state.
        """
        parameters = list(model.named_parameters())
        trained = {name: i for i, (name, found) in enumerate(parameters) if found.requires_grad}
        types = {found.dtype for name, found in parameters if name in trained}
        if len(types) != 1:
            raise CannotStack(f"its trained parameters are of {len(types)} types, not of one")
        frozen = [(name, found) for name, found in parameters if name not in trained]
        ends: dict[str, int] = {}
        places = {}
        for name, found in [
            *((n, p) for n, p in parameters if n in trained),
            *frozen,
            *model.named_buffers(),
        ]:
            dtype = str(found.dtype).removeprefix("torch.")
            places[name] = Place(dtype, ends.get(dtype, 0), tuple(found.shape))
            ends[dtype] = places[name].end
        return cls(places, _keys(model, places), trained)

    @property
    def dtype(self) -> str:
        """Type of the trained parameters."""
        return self.places[next(iter(self.trained))].dtype

    @property
    def num_trained(self) -> int:
        """Elements of the trained parameters: the first of a row."""
        return max(self.places[name].end for name in self.trained)

    def stack(self, models: Sequence[nn.Module]) -> Rows:
        """Return models of this layout as rows."""
        rows = [self._row(model) for model in models]
        return {dtype: torch.stack([row[dtype] for row in rows]) for dtype in rows[0]}

    def _row(self, model: nn.Module) -> Rows:
        tensors = dict((*model.named_parameters(), *model.named_buffers()))
        parts: dict[str, list[Tensor]] = {}
        for name, place in self.places.items():
            parts.setdefault(place.dtype, []).append(tensors[name].detach().reshape(-1))
        return {dtype: torch.cat(found) for dtype, found in parts.items()}

    def views(self, rows: Rows) -> dict[str, Tensor]:
        """Return the stacked tensors by name, (models, *shape) each, which share memory with the rows."""
        return {name: _view(rows[place.dtype], place) for name, place in self.places.items()}

    def state_dict(self, rows: Rows, row: int) -> dict[str, Tensor]:
        """Return a copy of one model's `state_dict`."""
        places = {key: self.places[name] for key, name in self.keys.items()}
        return {key: _copy(rows[place.dtype][row], place) for key, place in places.items()}

    def write(self, rows: Rows, row: int, state_dict: Mapping[str, Tensor]) -> None:
        """Put a `state_dict` into its row."""
        for key, name in self.keys.items():
            place = self.places[name]
            rows[place.dtype][row, place.start : place.end] = state_dict[key].reshape(-1)

    def optimizer_state(self, state: Rows, row: int, steps: int) -> dict[int, dict[str, Tensor]]:
        """Return a copy of one model's optimizer state, as torch.optim keeps it: by parameter, by name.

        Args:
            state: (models, num_trained) by name.
            steps: taken so far.
        """
        if not steps:
            return {}
        found: dict[int, dict[str, Tensor]] = {}
        for name, index in self.trained.items():
            parts = {key: _copy(rows[row], self.places[name]) for key, rows in state.items()}
            found[index] = {"step": torch.tensor(float(steps)), **parts}
        return found

    def write_optimizer_state(self, state: Rows, row: int, found: Mapping[int, Mapping[str, Any]]) -> None:
        """Put what torch.optim keeps into its row; what it does not keep yet is zero."""
        for name, index in self.trained.items():
            place = self.places[name]
            for key, rows in state.items():
                value = found.get(index, {}).get(key)
                rows[row, place.start : place.end] = 0 if value is None else value.reshape(-1)

    def to_plain(self) -> dict[str, Any]:
        places = {name: [place.dtype, place.start, list(place.shape)] for name, place in self.places.items()}
        return {"places": places, "keys": self.keys, "trained": self.trained}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Layout":
        places = {
            name: Place(dtype, start, tuple(shape)) for name, (dtype, start, shape) in plain["places"].items()
        }
        return cls(places, plain["keys"], plain["trained"])


def _view(rows: Tensor, place: Place) -> Tensor:
    return rows[:, place.start : place.end].view(len(rows), *place.shape)


def _copy(row: Tensor, place: Place) -> Tensor:
    return row[place.start : place.end].view(place.shape).clone()


def _keys(model: nn.Module, places: dict[str, Place]) -> dict[str, str]:
    """Return the name of the tensor behind each key of the `state_dict`."""
    named = (*model.named_parameters(), *model.named_buffers())
    names = {id(found): name for name, found in named if name in places}
    keys = {}
    for key, found in model.state_dict(keep_vars=True).items():
        if id(found) not in names:
            raise CannotStack(f"its state_dict holds {key!r}, which is no parameter and no buffer")
        keys[key] = names[id(found)]
    return keys
