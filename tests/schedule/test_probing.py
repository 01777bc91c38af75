"""The probe before the first cohort: every worker measures once, at the same time, or dies over it."""

import pytest

from tuning.schedule.probing import Probe, Probing


class Sweep:
    """What the probing tells: what was measured, and how often the workers were let go."""

    def __init__(self, workers: int) -> None:
        self.told: list[list[str]] = []
        self.released = 0
        self.probing = Probing(Probe((1, 2), self.told.append), workers, self._release)

    def _release(self) -> None:
        self.released += 1


def test_each_worker_is_given_the_sizes_once() -> None:
    probing = Sweep(workers=2).probing
    assert [probing.suggest(one) for one in "abc"] == [{"sizes": [1, 2]}, {"sizes": [1, 2]}, None]
    assert probing.has("a") and probing.has("b") and not probing.has("c")


def test_a_size_is_chosen_once_all_have_measured() -> None:
    sweep = Sweep(workers=2)
    sweep.probing.suggest("a")
    sweep.probing.measured("a", "first")
    assert not sweep.probing.is_done, "the second worker has not begun"
    sweep.probing.suggest("b")
    assert not sweep.probing.is_done
    sweep.probing.measured("b", "second")
    assert sweep.probing.is_done and sweep.told == [["first", "second"]]


def test_a_result_that_tune_tells_twice_counts_once() -> None:
    sweep = Sweep(workers=2)
    for one in ("a", "b"):
        sweep.probing.suggest(one)
    for one in ("a", "a", "b", "b"):
        sweep.probing.measured(one, f"by {one}")
    sweep.probing.ended("a")
    sweep.probing.ended("b")
    assert sweep.told == [["by a", "by b"]]


@pytest.mark.parametrize("first", ["dies", "measures"])
def test_a_worker_that_dies_over_it_is_not_waited_for(first: str) -> None:
    sweep = Sweep(workers=2)
    for one in ("a", "b"):
        sweep.probing.suggest(one)
    dies, measures = (lambda: sweep.probing.ended("a")), (lambda: sweep.probing.measured("b", "by b"))
    for happens in (dies, measures) if first == "dies" else (measures, dies):
        happens()
    assert sweep.probing.is_done and sweep.told == [["by b"]]


def test_all_may_die_over_it() -> None:
    sweep = Sweep(workers=1)
    sweep.probing.suggest("a")
    sweep.probing.ended("a")
    assert sweep.told == [[]]


def test_the_workers_are_let_go_once() -> None:
    sweep = Sweep(workers=1)
    sweep.probing.release()
    sweep.probing.release()
    assert sweep.released == 1


def test_a_worker_that_waited_for_the_others_in_vain_decides_with_what_it_found() -> None:
    """They may come late, or never: a cloud has no more of their kind."""
    sweep = Sweep(workers=3)
    for number in range(3):
        sweep.probing.suggest(str(number))
    sweep.probing.measured("0", "found")
    assert not sweep.probing.is_done and sweep.told == []
    sweep.probing.ended("0")
    assert sweep.probing.is_done and sweep.told == [["found"]]
    assert sweep.released == 1, "what the others were to measure is known"
    sweep.probing.measured("1", "late")
    sweep.probing.ended("1")
    assert sweep.told == [["found"]]
