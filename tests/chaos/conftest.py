"""What a sweep comes to when nothing is killed."""

import functools
from collections.abc import Callable

import pytest

from tests.chaos import driver, ledger
from tests.chaos.matrix import MODES

Undisturbed = Callable[[str], list[ledger.Trained]]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The trials of the same sweep when nothing is killed, by mode."""

    @functools.cache
    def trained(mode: str) -> list[ledger.Trained]:
        with driver.started(tmp_path_factory.mktemp(mode), **MODES[mode]) as one:
            assert one.end() == 0, one.output()
        ledger.assert_nothing_is_lost(one.home, mode)
        return ledger.trained(one.home)

    return trained
