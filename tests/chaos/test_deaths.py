"""Whatever is killed, at whatever moment: the same command again ends with exactly the trials asked for."""

from pathlib import Path

import pytest

from tests.chaos import driver

PLACES = {
    "before-first-report": 1,
    "mid-epoch": 12,
    "replace-resume": 2,
    "replace-checkpoints": 3,
    "journal-locked": 6,
    "between-study-and-mlflow": 3,
    "mlflow-flush": 1,
    "before-end": 1,
}
"""How often a process has to come to a place before it stops there, so that there is something to lose."""

MODES = {"alone": 1, "cohort": 3}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """Values of the same sweep when nothing is killed, by mode."""
    found: dict[str, list[object]] = {}
    for mode, size in MODES.items():
        folder = tmp_path_factory.mktemp(mode)
        with driver.started(folder, cohort=size) as one:
            assert one.end() == 0, one.output()
        driver.assert_nothing_is_lost(one.home)
        found[mode] = list(driver.values(one.home))
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_driver_loses_nothing(
    tmp_path: Path, place: str, mode: str, undisturbed: dict[str, list[object]]
) -> None:
    with driver.started(tmp_path, place=place, count=PLACES[place], cohort=MODES[mode]) as first:
        first.wait_until(place)
        first.kill("driver")
    with driver.started(tmp_path, cohort=MODES[mode]) as second:
        assert second.end() == 0, second.output()
    driver.assert_nothing_is_lost(second.home)
    assert driver.values(second.home) == undisturbed[mode]
