"""Checkpoints and resume files of others are refused in one line, and run no code."""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tuning
from tests.engine import trials
from tests.hostile.planted import SPEC, SPLITS, Payload, Refused
from tuning import unfinished
from tuning.engine import checkpoint, resume_state
from tuning.records import TrialSpec
from tuning.study import Study


def whole(demo: Path) -> dict[str, Any]:
    return torch.load(demo / "checkpoints/trial-00000.pt", weights_only=True)  # type: ignore[no-any-return]


def plant(demo: Path, encoded: bytes) -> Path:
    """Put a file in the place of the checkpoint, as somebody does who can also write its card."""
    file = demo / "checkpoints/trial-00000.pt"
    file.write_bytes(encoded)
    card = json.loads(file.with_suffix(".json").read_text())
    file.with_suffix(".json").write_text(json.dumps({**card, "sha256": hashlib.sha256(encoded).hexdigest()}))
    return file


def legacy(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def torchscript(content: dict[str, Any], payload: Payload) -> bytes:
    """Return a file that torch would hand to the loader of compiled models."""
    buffer = io.BytesIO(checkpoint.encode(content))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps(payload))
    return buffer.getvalue()


Forge = Callable[[dict[str, Any], Payload], bytes]

FORGED: dict[str, tuple[Forge, str]] = {
    "payload among the weights": (
        lambda whole, payload: checkpoint.encode({**whole, "state_dict": {"hidden.weight": payload}}),
        "more than tensors and plain data",
    ),
    "payload beside the fields": (
        lambda whole, payload: checkpoint.encode({**whole, "note": payload}),
        "more than tensors and plain data",
    ),
    "payload as the whole": (lambda _, payload: checkpoint.encode(payload), "more than tensors"),  # type: ignore[arg-type]
    "payload in the old format": (lambda whole, payload: legacy({**whole, "note": payload}), "torn"),
    "payload as a bare pickle": (lambda _, payload: pickle.dumps(payload), "torn"),
    "payload as a compiled model": (torchscript, "torn"),
    "empty": (lambda *_: b"", "torn"),
    "truncated": (lambda whole, _: checkpoint.encode(whole)[:-1000], "torn"),
    "a newer format": (lambda whole, _: checkpoint.encode({**whole, "format": 99}), "of format 99"),
    "no number as format": (lambda whole, _: checkpoint.encode({**whole, "format": "1"}), "of format '1'"),
    "tensors as format": (
        lambda whole, _: checkpoint.encode({**whole, "format": torch.ones(2)}),
        "must be of format 1",
    ),
    "no format": (lambda whole, _: checkpoint.encode({"weights": whole["state_dict"]}), "of format None"),
    "a list": (lambda whole, _: checkpoint.encode([whole]), "of format None"),  # type: ignore[arg-type]
    "weights of another model": (
        lambda whole, _: checkpoint.encode({**whole, "state_dict": {"0.weight": torch.ones(3)}}),
        "does not fit",
    ),
    "arguments of another model": (
        lambda whole, _: checkpoint.encode({**whole, "arguments": {"command": "x"}}),
        "does not fit",
    ),
    "weights that are text": (
        lambda whole, _: checkpoint.encode({**whole, "state_dict": "x"}),
        "'state_dict'",
    ),
    "no arguments": (
        lambda whole, _: checkpoint.encode({k: v for k, v in whole.items() if k != "arguments"}),
        "'arguments'",
    ),
    "a trial with path parts": (lambda whole, _: checkpoint.encode({**whole, "trial": "../x"}), "'trial'"),
    "an unknown way to prepare": (
        lambda whole, _: checkpoint.encode({**whole, "preprocess": {"kind": "os:system"}}),
        "`kind` must be",
    ),
    "a history of nothing": (lambda whole, _: checkpoint.encode({**whole, "history": [5]}), "does not fit"),
}


@pytest.mark.filterwarnings("ignore:'torch.load' received a zip file that looks like a TorchScript")
@pytest.mark.parametrize(("forge", "message"), FORGED.values(), ids=FORGED)
def test_a_forged_checkpoint_is_refused_at_every_door(
    demo: Path, trace: Path, refused: Refused, forge: Forge, message: str
) -> None:
    file = plant(demo, forge(whole(demo), Payload(trace)))
    with pytest.raises(tuning.CheckpointError, match=message):
        tuning.load_checkpoint(file)
    with pytest.raises(tuning.CheckpointError, match=message):
        tuning.load_best("demo")
    refused(["export", "demo", "--to", "model.pt"], message, code=1)
    assert not trace.exists()


def test_a_model_that_a_checkpoint_names_is_neither_run_nor_imported(
    demo: Path, trace: Path, refused: Refused
) -> None:
    command = {"command": f"touch {trace}"}
    file = plant(demo, checkpoint.encode({**whole(demo), "model": "os:system", "arguments": command}))
    with pytest.raises(tuning.CheckpointError, match=r"not in the catalog \('os:system'\)"):
        tuning.load_checkpoint(file)
    refused(["export", "demo", "--to", "model.pt"], "does not fit Net", code=1)


@pytest.mark.parametrize("name", [["net"], 5, None, {"net": 1}])
def test_a_name_of_a_model_that_is_no_text_is_refused(demo: Path, name: Any) -> None:
    file = plant(demo, checkpoint.encode({**whole(demo), "model": name}))
    with pytest.raises(tuning.CheckpointError, match="not in the catalog"):
        tuning.load_checkpoint(file)


@pytest.mark.parametrize("change", [{"sweep_id": "another", "sweep": "other"}, {"trial": 1}])
def test_a_checkpoint_of_another_sweep_or_trial_is_not_taken_for_this_ones(
    demo: Path, refused: Refused, change: dict[str, Any]
) -> None:
    file = plant(demo, checkpoint.encode({**whole(demo), **change}))
    assert tuning.load_checkpoint(file).model is not None, "by itself it is whole"
    refused(["export", "demo", "--to", "model.pt"], "must be of trial 0 of the sweep 'demo'", code=1)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.floats(0, 1, exclude_max=True))
def test_a_flipped_bit_is_refused_or_changes_nothing(swept: Path, place: float) -> None:
    """Without its card, which knows the whole file: bits between the records mean nothing."""
    encoded = (swept / "checkpoints/trial-00000.pt").read_bytes()
    bit = int(place * 8 * len(encoded))
    flipped = bytearray(encoded)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        content = checkpoint.decode(bytes(flipped), "x.pt")
    except tuning.CheckpointError:
        return
    assert str(content) == str(checkpoint.decode(encoded, "x.pt"))


@pytest.mark.parametrize("place", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_flipped_bit_is_found_by_the_hash_in_the_card(demo: Path, refused: Refused, place: float) -> None:
    file = demo / "checkpoints/trial-00000.pt"
    encoded = bytearray(file.read_bytes())
    encoded[int(place * len(encoded))] ^= 4
    file.write_bytes(encoded)
    with pytest.raises(tuning.CheckpointError, match="its sha256 differs"):
        tuning.load_checkpoint(file)
    refused(["export", "demo", "--to", "model.pt"], "its sha256 differs", code=1)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b"[" * 100_000, b'{"sha256": 5}'])
def test_a_card_that_is_torn_is_refused(demo: Path, refused: Refused, content: bytes) -> None:
    (demo / "checkpoints/trial-00000.json").write_bytes(content)
    refused(["export", "demo", "--to", "model.pt"], "trial-00000.json", code=1)


@pytest.mark.parametrize("content", [None, "[]", "{}", '"text"'])
def test_without_a_card_or_beside_a_file_of_something_else_a_checkpoint_opens(
    demo: Path, content: str | None
) -> None:
    card = demo / "checkpoints/trial-00000.json"
    card.unlink()
    if content is not None:
        card.write_text(content)
    assert tuning.load_checkpoint(demo / "checkpoints/trial-00000.pt").trial.number == 0


def test_a_death_between_a_checkpoint_and_its_card_leaves_no_card_of_the_one_before(demo: Path) -> None:
    _, training = trials.run(SPEC, SPLITS, 1, lr=0.1)
    asked = []

    def dies_at_the_card() -> None:
        asked.append(1)
        if len(asked) == 3:  # at the start, at the checkpoint, at its card
            raise KeyboardInterrupt

    trial = TrialSpec(number=0, hyperparameters={"lr": 0.1})
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save_best(str(demo), training, trial, SPEC, SPLITS, dies_at_the_card)
    loaded = tuning.load_checkpoint(demo / "checkpoints/trial-00000.pt")
    assert loaded.trial.hyperparameters == trial.hyperparameters


# ---- resume files ------------------------------------------------------------------------------

RESUME: dict[str, Callable[[dict[str, Any], Payload], Any]] = {
    "payload as the states": lambda _, payload: {"format": 1, "states": payload},
    "payload as weights": lambda state, payload: {
        "format": 1,
        "states": [{"single": {**state, "model": {"hidden.weight": payload}}}],
    },
    "an older format": lambda state, _: {"format": 0, "states": [{"single": state}]},
    "no states": lambda *_: {"format": 1},
    "a stack of nothing": lambda *_: {"format": 1, "states": [{"stack": {"layout": 5}}]},
    "a state of nothing": lambda *_: {"format": 1, "states": [{"single": 5}]},
    "epochs that are text": lambda state, _: {"format": 1, "states": [{"single": {**state, "epoch": "9"}}]},
    "a history of numbers": lambda state, _: {"format": 1, "states": [{"single": {**state, "history": [5]}}]},
    "a best of nothing": lambda state, _: {"format": 1, "states": [{"single": {**state, "best": {"x": 1}}}]},
    "metrics that are text": lambda state, _: {
        "format": 1,
        "states": [{"single": {**state, "history": [{"val_loss": "low"}]}}],
    },
    "fewer epochs than it says": lambda state, _: _state({**state, "epoch": 9}),
    "a best epoch to come": lambda state, _: _state({**state, "best": {**state["best"], "epoch": 9}}),
    "epochs without the sweep's metric": lambda state, _: _state(
        {**state, "history": [{"train_loss": 0.5} for _ in state["history"]]}
    ),
}


def _state(one: dict[str, Any]) -> dict[str, Any]:
    return {"format": 1, "states": [{"single": one}]}


@pytest.mark.parametrize("forge", RESUME.values(), ids=RESUME)
def test_a_forged_resume_file_is_refused_and_its_trial_begins_again(
    demo: Path, trace: Path, forge: Callable[[dict[str, Any], Payload], Any]
) -> None:
    file = demo / "resume/cohort-a.pt"
    (state,) = resume_state.load(str(file)).values()
    file.write_bytes(checkpoint.encode(forge(state, Payload(trace))))
    with pytest.raises(tuning.CheckpointError, match=r"cohort-a\.pt"):
        resume_state.load(str(file), spec=SPEC)
    study = Study(SPEC, demo / "study.journal", write=True)
    ((trial, history, found),) = unfinished.taken_up(study, str(demo))
    assert (trial.number, history, found) == (1, [], None)
    assert not trace.exists()


def test_keys_that_a_resume_file_should_not_have_are_left_out(demo: Path) -> None:
    file = demo / "resume/cohort-a.pt"
    (state,) = resume_state.load(str(file)).values()
    file.write_bytes(checkpoint.encode({"format": 1, "states": [{"single": {**state, "extra": 1}}]}))
    assert resume_state.load(str(file))[1].keys() == state.keys()


def test_a_resume_file_of_another_sweep_is_not_taken_up(demo: Path) -> None:
    file = demo / "resume/cohort-a.pt"
    (state,) = resume_state.load(str(file)).values()
    resume_state.save(str(file), [{"single": state}], "another")
    with pytest.raises(tuning.CheckpointError, match=r"of another sweep \(another\)"):
        resume_state.load(str(file), spec=SPEC)
    assert resume_state.load_if_sound(str(file), spec=SPEC) == {}


def test_a_resume_file_of_a_newer_program_stops_the_sweep_before_its_epochs_are_lost(demo: Path) -> None:
    file = demo / "resume/cohort-a.pt"
    (state,) = resume_state.load(str(file)).values()
    file.write_bytes(checkpoint.encode({"format": 99, "states": [{"single": state}]}))
    study = Study(SPEC, demo / "study.journal", write=True)
    with pytest.raises(tuning.SweepError, match="needs a newer version"):
        unfinished.taken_up(study, str(demo))
    assert file.exists()
