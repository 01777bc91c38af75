"""A sweep that another process would drive."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from tuning import notation, plan, storage
from tuning.claim import claim
from tuning.paths import SweepPaths
from tuning.records import Place, Span, begun_by
from tuning.spec import EarlyStopping, SweepSpec
from tuning.study import Study

Watch = Callable[..., str]


class Driver:
    """A driver in miniature: it holds the claim, and two trials train in one cohort.

    Args:
        trials: that it begins.
    """

    def __init__(self, trials: int = 2) -> None:
        stopping = EarlyStopping(kind="asha", grace_epochs=3)
        planned = plan.prepare(
            SweepSpec(model="net", name="demo", trials=4, epochs=9, early_stopping=stopping)
        )
        self.where: SweepPaths = planned.paths
        storage.write(str(self.where.spec), notation.dump(replace(planned.spec, id="1-2-3")).encode())
        self._claim = ExitStack()
        self.cohort = f"{begun_by(self._claim.enter_context(claim(self.where.claim, 'demo')))}1"
        self.study = Study(planned.spec, self.where.journal, write=True)
        self.study.ask_many(trials)

    def place(self, where: str = "far, GPU 1", numbers: Sequence[int] = (0, 1)) -> None:
        span = Span(where, 1, 0.0, 1.0)
        places = [
            Place(trial=n, where=where, cohort=self.cohort, epoch=1, slot=n, width=2, span=span)
            for n in numbers
        ]
        self.study.places.keep(places)

    def report(self, epoch: int) -> None:
        for number in (0, 1):
            self.study.report(number, epoch, 1.0 / (epoch + number))

    def end(self) -> None:
        self._claim.close()
