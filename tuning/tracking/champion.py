"""A sweep's best model as MLflow keeps models: a folder that plain `mlflow.pytorch.load_model` reads.

What `mlflow.pytorch.save_model(..., serialization_format="pt2")` writes, put down by hand: that would import
torch and trace the model once more, seconds in which the end of each sweep waited.
"""

import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tuning import storage


@dataclass(frozen=True, slots=True)
class TensorSlot:
    """An input or output of the model; the axis of the rows is -1."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """A trial's model, ready to be registered."""

    trial: int
    value: float
    """The best of the sweep's own metric, as the search saw it."""
    epoch: int
    program: bytes
    """What `torch.export.save` writes."""
    torch_version: str
    inputs: list[TensorSlot]
    outputs: list[TensorSlot]
    example: list[Any]
    """An array for each input."""
    scaling: str
    """In words, what is to be done to a raw input."""
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """On the test split."""
    confirmed: float | None = None
    """Mean of the metric over fresh seeds; None before `tuning confirm`."""
    over: frozenset[int] = frozenset()
    """Trials, itself among them, than which it is no worse by the same seeds."""

    def usage(self, uri: str) -> str:
        """Return, as Markdown, how the model is loaded and called."""
        names = ", ".join(slot.name for slot in self.inputs)
        returned = ", ".join(slot.name for slot in self.outputs)
        lines = [f"- `{slot.name}`: {slot.dtype} {list(slot.shape)}" for slot in self.inputs + self.outputs]
        lines[0] += f", {self.scaling}"
        code = f'model = mlflow.pytorch.load_model("{uri}")\n{returned} = model({names})'
        start = "\n\nA hidden state begins with zeros; what comes back goes into the next call."
        shapes = "\n".join(lines) + (start if len(self.inputs) > 1 else "")
        return (
            f"```python\nimport mlflow.pytorch\n{code}\n```\n\n{shapes}\n\n-1 stands for any number of rows."
        )


def write(champion: Champion, folder: Path, *, model_id: str, location: str, run_id: str) -> None:
    """Write the model's folder, which must be there and empty.

    Args:
        location: where MLflow keeps it.
    """
    from mlflow.models import Model
    from mlflow.models.utils import _save_example

    model = Model(artifact_path=location, run_id=run_id, model_uuid=model_id, model_id=model_id)
    model.signature = _signature(champion)
    arrays = dict(zip([slot.name for slot in champion.inputs], champion.example, strict=True))
    _save_example(model, arrays if len(arrays) > 1 else champion.example[0], str(folder))
    model.add_flavor("pytorch", model_data="data", pytorch_version=champion.torch_version, code=None)
    if len(champion.inputs) == len(champion.outputs) == 1:
        model.add_flavor(
            "python_function",
            loader_module="mlflow.pytorch",
            data="data",
            python_version=platform.python_version(),
            env={"virtualenv": "python_env.yaml"},
            model_config={"device": "cpu"},  # where the program's weights are
        )
    storage.write(str(folder / "data/model.pt2"), champion.program)
    for name, content in _environment().items():
        (folder / name).write_text(content)
    model.model_size_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    model.save(str(folder / "MLmodel"))


def _signature(champion: Champion) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(slots: list[TensorSlot]) -> Any:
        names = [slot.name for slot in slots] if len(slots) > 1 else [None]  # MLflow names all or none
        pairs = zip(slots, names, strict=True)
        return Schema([TensorSpec(np.dtype(slot.dtype), slot.shape, name) for slot, name in pairs])

    return ModelSignature(inputs=schema(champion.inputs), outputs=schema(champion.outputs))


def _environment() -> dict[str, str]:
    """Return the files that say which packages the model needs: none of this project."""
    packages = [f"{name}=={version(name).partition('+')[0]}" for name in ("mlflow", "torch", "numpy")]
    python = f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n"
    return {"requirements.txt": "\n".join(packages) + "\n", "python_env.yaml": python}
