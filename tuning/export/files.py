"""`tuning export`: one model of a sweep as one file, whole or not at all."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import models
from tuning import reuse, storage
from tuning.data.preprocess import in_words, input_dtype
from tuning.engine import checkpoint
from tuning.errors import CheckpointError, RequestError
from tuning.export import onnx_file
from tuning.export.program import BATCHES, Program, trace
from tuning.reuse import LoadedModel

Format = Literal["state_dict", "pt2", "onnx"]

SUFFIXES: dict[str, Format] = {
    ".pt2": "pt2",
    ".onnx": "onnx",
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt", ""), "state_dict"),
}
"""What the end of a file's name asks for, where --format does not."""

CARD = "card.json"
"""The file inside a `.pt2` that tells what the model is; in ONNX its keys are the file's metadata."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and in words how to use it."""

    file: Path
    format: Format
    text: str


def export(
    name: str,
    to: Path,
    *,
    format: Format | None = None,
    trial: int | None = None,
    home: str | None = None,
) -> Exported:
    """Write the model of the best (or that) trial of a sweep.

    Args:
        format: left out, as the file's name ends: `.pt2`, `.onnx`, `.pt` or the like (a `state_dict`).

    Raises:
        RequestError: when there is no such sweep or trial, or the file cannot be written.
        SweepError: when the model cannot be exported so.
    """
    format = _checked(to, format)
    loaded = reuse.load_best(name, home=home, trial=trial)
    content, lines = _encoded(loaded, format, to)
    storage.deliver(to, content)
    return Exported(to, format, "\n".join(lines))


def program_of(loaded: LoadedModel) -> Program:
    """Return a loaded model as a program.

    Raises:
        SweepError: when it is none.
        CheckpointError: when its checkpoint does not tell what its input looks like.
    """
    preprocess = loaded.card["preprocess"]
    shape = preprocess.get("shape")
    if not isinstance(shape, list):
        raise CheckpointError(
            f"The checkpoint of trial {loaded.trial.number} must tell the shape of its model's input, but it "
            "is of an old version of this program; --format state_dict writes its weights."
        )
    return trace(loaded.model, shape, input_dtype(preprocess))


def notes(loaded: LoadedModel) -> dict[str, str]:
    """Return what whoever gets the file should know of the model, each value as JSON or words."""
    kept = ("sweep", "sweep_id", "trial", "model", "metric", "value", "epoch", "task", "hyperparameters")
    plain = {key: loaded.card[key] for key in (*kept, "preprocess", "versions") if key in loaded.card}
    said = {key: value if isinstance(value, str) else json.dumps(value) for key, value in plain.items()}
    return {**said, "input": in_words(loaded.card["preprocess"])}


def _checked(to: Path, format: str | None) -> Format:
    """Return the format; refuse a file that names another one, or that no folder could hold."""
    named = SUFFIXES.get(to.suffix.lower())
    if format is None and named is None:
        raise RequestError(
            f"--to must end as what it is to hold, or --format say that: .pt2 or .onnx (the whole network), "
            f".pt or .pth (its state_dict), but got {str(to)!r}."
        )
    if format not in (None, named) and named in ("pt2", "onnx"):
        raise RequestError(
            f"--format and the end of --to must name the same, but got {format} and {str(to)!r}; "
            f"leave --format out to write {named}."
        )
    storage.check_target(to)
    return cast(Format, format or named)


def _encoded(loaded: LoadedModel, format: Format, to: Path) -> tuple[bytes, list[str]]:
    """Return the file, and lines that say how to use it."""
    if format == "state_dict":
        content = checkpoint.encode(loaded.model.state_dict())
        opened = f"torch.load({str(to)!r}, weights_only=True)"
        return content, [f"wrote {to}; open it with {opened}", *_built(loaded.card)]
    program, said = program_of(loaded), notes(loaded)
    if format == "pt2":
        content, apart = program.encoded({CARD: json.dumps(said)}), program.difference
        opened = f"torch.export.load({str(to)!r}).module()"
    else:
        content, apart = onnx_file.encoded(program, said)
        opened = f"onnxruntime.InferenceSession({str(to)!r})"
    return content, [f"wrote {to}; open it with {opened}", *_usage(loaded, program, apart)]


def _built(card: dict[str, Any]) -> list[str]:
    """Return what the weights are of: a `state_dict` does not tell."""
    name, arguments = str(card["model"]), [f"{key}={value!r}" for key, value in card["arguments"].items()]
    if name in models.CATALOG:
        call = f"models.build({', '.join([repr(name), *arguments])})"
    else:
        call = f"{name.rpartition(':')[2]}({', '.join(arguments)})"
    return [f"fits        {call}", f"takes       inputs {in_words(card['preprocess'])}"]


def _usage(loaded: LoadedModel, program: Program, apart: float) -> list[str]:
    rows, *hidden = program.inputs
    first, *others = program.outputs
    counts = ", ".join(map(str, BATCHES[:-1]))
    return [
        f"takes       {rows}, {in_words(loaded.card['preprocess'])}",
        *(f"            {slot}, zeros to begin with, then what came back" for slot in hidden),
        f"returns     {first}",
        *(f"            {slot}" for slot in others),
        f"checked     for {counts} and {BATCHES[-1]} rows it returns what the trained model does"
        + (f", but for {apart:.1g}" if apart else ""),
    ]
