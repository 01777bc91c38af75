"""A program as one ONNX file, checked with onnx and compared with the model in onnxruntime."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tuning.errors import SweepError
from tuning.export.program import BATCH, Program, compare, quiet, said

MAX_BYTES = 2**31 - 2**24
"""Of weights: one file of ONNX holds less than 2 GiB, as protobuf has it."""


def encoded(program: Program, notes: dict[str, str]) -> tuple[bytes, float]:
    """Return the file, and by how much its outputs differ from the model's at most.

    Args:
        notes: the file's metadata.

    Raises:
        SweepError: when ONNX lacks what the model does, computes otherwise, or cannot hold it.
    """
    weights = [*program.exported.state_dict.values(), *program.exported.constants.values()]
    size = sum(one.nbytes for one in weights if isinstance(one, Tensor))
    if size > MAX_BYTES:
        raise SweepError(
            f"One ONNX file holds at most 2 GB, but the model's weights take {size / 1e9:.1f} GB; "
            "--format pt2 has no such limit."
        )
    try:
        with quiet():
            content = _written(program, notes)
            return content, compare(program, _session(content))
    except Exception as error:  # of torch, onnx and onnxruntime, each with types of its own
        raise SweepError(
            f"The model cannot be written as ONNX: {said(error)} --format pt2 keeps all of it for torch."
        ) from error


def _written(program: Program, notes: dict[str, str]) -> bytes:
    import onnx

    written = torch.onnx.export(
        program.exported,
        dynamo=True,
        verbose=False,
        input_names=[slot.name for slot in program.inputs],
        output_names=[slot.name for slot in program.outputs],
    )
    assert written is not None
    shape = written.model.graph.inputs[0].shape
    assert shape is not None
    written.rename_axes({str(shape[0]): BATCH})
    model = written.model_proto
    onnx.helper.set_model_props(model, notes)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def _session(content: bytes) -> Any:
    """Return the file as a function of tensors, run by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [found.name for found in session.get_inputs()]

    def run(*arguments: Any) -> list[Tensor]:
        values = [one.numpy() for one in pytree.tree_leaves(arguments)]
        return [torch.from_numpy(one) for one in session.run(None, dict(zip(names, values, strict=True)))]

    return run
