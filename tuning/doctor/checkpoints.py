"""Checkpoint files and their cards: whole, of their trial, and what the study says of it.

A card holds the hash of its file. What lacks or is torn comes back from a copy: the one in MLflow, or, of
a trial that is unfinished, its resume state. A copy counts if its hash is the card's, or, where no card is
left, if it loads and agrees with the study.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuning import paths, storage, unfinished
from tuning.doctor import leftovers
from tuning.doctor.agreement import disagreement
from tuning.doctor.difference import Difference
from tuning.engine import checkpoint
from tuning.errors import CheckpointError
from tuning.ledger import Sweep
from tuning.records import State, TrialRecord
from tuning.references import load_data
from tuning.study import Study
from tuning.tracking import inventory
from tuning.tracking.inventory import Inventory

CARD_FIELDS = {
    **{key: kind for key, kind in checkpoint.FIELDS.items() if key != "state_dict"},
    "sha256": str,
}

OWN = re.compile(r"trial-\d+\.(pt|json)")


@dataclass(frozen=True, slots=True)
class Pair:
    """A checkpoint's file and its card, of which either may lack."""

    file: bytes | None
    card: bytes | None


def look(sweep: Sweep, held: Inventory | None) -> list[Difference]:
    """Compare the files with the study; `held` says what MLflow has copies of, None if it does not answer."""
    names = storage.names(paths.checkpoint_folder(sweep.folder))
    there = {name.partition(".")[0] for name in names}
    resumed = leftovers.resumed(sweep)
    found = []
    for trial in sweep.trials:
        why = ailment(sweep, trial) if paths.trial_name(trial.number) in there else _absence(trial, held)
        if why is not None:
            cure = _is_curable(sweep, trial, held, resumed)
            text = why if cure else f"{why}, and no good copy is at hand; {_way_out(trial)}"
            found.append(Difference(trial.number, text, cure))
    known = {paths.trial_name(trial.number) for trial in sweep.trials}
    return found + [
        Difference(None, f"checkpoints/{name} is of no trial of the study; move it away", False)
        for name in names
        if OWN.fullmatch(name) and name.partition(".")[0] not in known
    ]


def ailment(sweep: Sweep, trial: TrialRecord) -> str | None:
    """Return what is wrong with the files of a trial that has some; None if nothing is."""
    pair = _on_disk(sweep, trial)
    if pair.file is None:
        return "its checkpoint is gone, though its card is there"
    if pair.card is None:
        return "its checkpoint has no card"
    card = _card(pair.card)
    if card is None:
        return "the card of its checkpoint is torn"
    why = disagreement(card, sweep, trial)
    if why is not None or card["sha256"] == hashlib.sha256(pair.file).hexdigest():
        return why
    if _content(pair.file) is None:
        return "its checkpoint is torn"
    return "its checkpoint is not the file that its card describes: their sha256 differ"


def sound_files(sweep: Sweep, trial: TrialRecord) -> dict[str, bytes]:
    """Return a trial's checkpoint and card by name, if nothing is wrong with them; else nothing."""
    pair, name = _on_disk(sweep, trial), paths.trial_name(trial.number)
    if pair.file is None or pair.card is None or ailment(sweep, trial) is not None:
        return {}
    return {f"{name}.pt": pair.file, f"{name}.json": pair.card}


def card_of(sweep: Sweep, trial: TrialRecord) -> dict[str, Any] | None:
    """Return a trial's card, if it is whole and the trial's."""
    found = _card(_on_disk(sweep, trial).card)
    return found if found is not None and disagreement(found, sweep, trial) is None else None


def mend(sweep: Sweep, held: Inventory | None) -> None:
    """Put good copies in the place of what is missing, torn or another's."""
    resumed = leftovers.resumed(sweep)
    anew = set()
    for found in look(sweep, held):
        if found.trial is None or not found.fixable:
            continue
        trial = sweep.trial(found.trial)
        pair = _good(sweep, trial, held)
        if pair is None and trial.number in resumed:
            anew.add(trial.number)
        else:
            _put(sweep, trial, pair or Pair(None, None))
    if anew:
        study = Study(sweep.spec, sweep.paths.journal, write=True)
        unfinished.save_best(study, sweep.folder, load_data(str(sweep.spec.data), seed=sweep.spec.seed), anew)
        for number in anew:
            if ailment(sweep, sweep.trial(number)) is not None:  # its resume state has no finite epoch
                _put(sweep, sweep.trial(number), Pair(None, None))


def _put(sweep: Sweep, trial: TrialRecord, pair: Pair) -> None:
    """Write a pair in the order in which a worker does: no card is ever beside another file."""
    file, card = (
        paths.checkpoint_file(sweep.folder, trial.number),
        paths.card_file(sweep.folder, trial.number),
    )
    storage.remove(card)
    if pair.file is None or pair.card is None:
        storage.remove(file)
        return
    storage.write(file, pair.file)
    storage.write(card, pair.card)


def _absence(trial: TrialRecord, held: Inventory | None) -> str | None:
    """Return what is missing of a trial that has neither file nor card; None if it need not have any.

    A trial that failed may have ended before it came to save anything.
    """
    must = trial.state in (State.COMPLETED, State.PRUNED) and trial.value is not None
    if must or (trial.state.has_ended and held is not None and _has_copy(held, trial.number)):
        return "its checkpoint and card are gone"
    return None


def _has_copy(held: Inventory, number: int) -> bool:
    return any(inventory.has_copy(held.client, run, number) for run in held.children.get(number, []))


def _is_curable(
    sweep: Sweep, trial: TrialRecord, held: Inventory | None, resumed: Mapping[int, object]
) -> bool:
    """Whether a good copy is left, or none is needed: an unfinished trial's torn file is of no use."""
    if _good(sweep, trial, held) is not None:
        return True
    pair = _on_disk(sweep, trial)
    is_torn = pair.file is None or _content(pair.file) is None
    return not trial.state.has_ended and (is_torn or trial.number in resumed)


def _way_out(trial: TrialRecord) -> str:
    return f"put a backup of checkpoints/{paths.trial_name(trial.number)}.pt and .json back"


def _good(sweep: Sweep, trial: TrialRecord, held: Inventory | None) -> Pair | None:
    """Return a checkpoint and a card that belong together and to the trial, from wherever they are."""
    pairs = [_on_disk(sweep, trial), *_copies(trial, held)]
    files = [pair.file for pair in pairs if pair.file is not None]
    cards = [(pair.card, card) for pair in pairs if (card := _card(pair.card)) is not None]
    cards = [(raw, card) for raw, card in cards if disagreement(card, sweep, trial) is None]
    by_hash = {hashlib.sha256(file).hexdigest(): file for file in files}
    for raw, card in cards:
        if card["sha256"] in by_hash:
            return Pair(by_hash[card["sha256"]], raw)
    return None if cards else _with_new_card(files, sweep, trial)


def _with_new_card(files: Iterable[bytes], sweep: Sweep, trial: TrialRecord) -> Pair | None:
    for file in files:
        content = _content(file)
        if content is not None and disagreement(content, sweep, trial) is None:
            return Pair(file, checkpoint.card(content, file))
    return None


def _on_disk(sweep: Sweep, trial: TrialRecord) -> Pair:
    file, card = (
        paths.checkpoint_file(sweep.folder, trial.number),
        paths.card_file(sweep.folder, trial.number),
    )
    return Pair(_read(file), _read(card))


def _copies(trial: TrialRecord, held: Inventory | None) -> list[Pair]:
    """Return what MLflow has of a trial, also in runs that were deleted: their files are still there."""
    if held is None:
        return []
    deleted = [run for run in held.deleted if inventory.number_of(run) == trial.number]
    name = paths.trial_name(trial.number)
    return [
        Pair(*(inventory.copy(held.client, run, f"{name}.{kind}") for kind in ("pt", "json")))
        for run in [*held.children.get(trial.number, []), *deleted]
    ]


def _read(path: str) -> bytes | None:
    try:
        return storage.read(path)
    except FileNotFoundError:
        return None
    except OSError:  # a folder of that name, a disk that does not give it: as good as torn
        return b""


def _card(raw: bytes | None) -> dict[str, Any] | None:
    """Return what a card says; None if there is none, or it is torn."""
    try:
        card = json.loads(raw or b"")
        checkpoint.require(card, CARD_FIELDS, "card")
    except (ValueError, RecursionError, CheckpointError):
        return None
    assert isinstance(card, dict)
    return card


def _content(file: bytes) -> dict[str, Any] | None:
    """Return what a checkpoint file holds; None if it is torn or something else."""
    try:
        content = checkpoint.decode(file, "checkpoint")
        checkpoint.require(content, checkpoint.FIELDS, "checkpoint")
    except CheckpointError:
        return None
    return content
