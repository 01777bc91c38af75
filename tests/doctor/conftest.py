"""One healthy sweep, anew for each test."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.doctor.ward import Patient, admitted


@pytest.fixture(scope="session")
def admission(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> Patient:
    folder = tmp_path_factory.mktemp("ward")
    return admitted(folder / "home", folder / "kept")


@pytest.fixture
def patient(admission: Patient) -> Iterator[Patient]:
    admission.heal()
    yield admission
