"""One trial's entry of a study: reading and writing it past Optuna's `Trial`, whose making takes longer."""

from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial


class Entries:
    """The entries of one study, by the numbers of their trials."""

    def __init__(self, storage: BaseStorage, study: str) -> None:
        self._storage = storage
        self._study = storage.get_study_id_from_name(study)
        self._ids: dict[int, int] = {}
        """Optuna's id by number, of trials that were asked for here."""

    def id(self, number: int) -> int:
        if number not in self._ids:
            found = self._storage.get_trial_id_from_study_id_trial_number(self._study, number)
            self._ids[number] = found
        return self._ids[number]

    def frozen(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self.id(number))

    def report(self, number: int, epoch: int, value: float) -> None:
        self._storage.set_trial_intermediate_value(self.id(number), epoch, value)

    def set(self, number: int, **attributes: Any) -> None:
        """Set user attributes."""
        for key, value in attributes.items():
            self._storage.set_trial_user_attr(self.id(number), key, value)
