"""What a user sees while a sweep runs: live on a terminal, else in lines."""

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuning.endings import Ending
from tuning.errors import last_line
from tuning.records import Cohort, EpochReport, State, TrialRecord, TrialSpec, improves
from tuning.spec import SweepSpec

PLAIN_INTERVAL_S = 10.0
"""Where standard error is no terminal, a line at most this often."""


ENDS_EARLY = {
    Ending.INTERRUPTED: "interrupted: running epochs end and are saved (Ctrl-C again: at once)",
    Ending.CANCELLED: "cancelled by `tuning cancel`: running epochs end and are saved",
    Ending.STOPPED: "stopped by `tuning stop`: trials that have begun train to their end, no other begins",
}

ENDED_EARLY = (State.PRUNED, State.DIVERGED, State.FAILED)

IN_WORDS = {State.PRUNED: "stopped early"}

ENOUGH = 8
"""The part of a sweep, an eighth, that must have ended before the rest is estimated."""


class Progress:
    """A `telling.Recorder` that shows where the sweep stands: live on a terminal, else in lines."""

    def __init__(self, spec: SweepSpec, screen: TextIO, trials: Sequence[TrialRecord]) -> None:
        self._spec = spec
        self._counts = Counter(trial.state for trial in trials if trial.state.has_ended)
        self._running: set[int] = set()
        self._states = {trial.number: trial.state for trial in trials if trial.state.has_ended}
        """Of those that have ended: the sweep's best is one that completed."""
        self._hyperparameters = {trial.number: self._describe(trial) for trial in trials}
        self._furthest = 0
        """The last epoch that was heard of: while no trial has ended, all that says how far they are."""
        self._best: tuple[float, int, int] | None = None
        """(value, trial, epoch)"""
        for trial in trials:
            if trial.value is not None and trial.epoch is not None and self._improves(trial.value):
                self._best = (trial.value, trial.number, trial.epoch)
        self._ends_alike: Counter[tuple[State, str]] = Counter()
        """Trials by how and why they ended, where they did not end well."""
        self._start_s = time.monotonic()
        self._since_s: float | None = None
        """When workers were up: what the start took says nothing of the pace."""
        self._notice = ""
        self._ended_here = 0
        self._last_end_s = self._start_s
        self._screen = screen
        self._printed_s = self._start_s
        self._printed_best: int | None = None
        self._phase = "starting"
        self._live = (
            Live(
                self,
                console=Console(file=screen),
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,  # the streams go to the log
                redirect_stderr=False,
            )
            if screen.isatty()
            else None
        )

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
        for (state, cause), count in self._ends_alike.items():
            if count > 1:
                more = f": {cause}" if cause else ", each with its cause in MLflow (tag tuning.cause)"
                self.say(f"{count} trials {state.value} like this{more}")
        self.say(self._line())

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._live and self._live.is_started:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            with contextlib.suppress(OSError):  # a reader that went away (`| head`) ends no sweep
                print(text, file=self._screen, flush=True)

    def phase(self, text: str) -> None:
        """Say what goes on while no trial runs yet."""
        self._phase = text
        if text and self._live is None:
            self.say(f"{text} ...")

    def trains_since(self, up_at: float) -> None:
        """Note since when trials train, in seconds of the wall clock."""
        self._since_s = time.monotonic() - max(0.0, time.time() - up_at)

    def ends_early(self, ending: Ending) -> None:
        """Say that the sweep was asked to end; called from a signal handler, or from another thread."""
        self._notice = ENDS_EARLY[ending]
        if self._live is None:
            with contextlib.suppress(RuntimeError):  # a line was just being written
                self.say(self._notice)

    def begin(self, trial: TrialSpec, cohort: Cohort) -> None:
        self._running.add(trial.number)
        self._hyperparameters[trial.number] = self._describe(trial)

    def epoch(self, report: EpochReport) -> None:
        self._phase = ""
        self._furthest = max(self._furthest, report.epoch)
        value = report.metrics[str(self._spec.metric)]
        if report.state is State.RUNNING and self._improves(value):
            self._best = (value, report.trial, report.epoch)
        self._print_now_and_then()

    def end(self, number: int, state: State, cause: str | None) -> None:
        self._running.discard(number)
        self._counts[state] += 1
        self._states[number] = state
        if state.has_ended:
            self._ended_here += 1
            self._last_end_s = time.monotonic()
        if state in (State.FAILED, State.DIVERGED):
            self._say_cause(number, state, last_line(cause, "no cause is known"))
        self._print_now_and_then()

    def _say_cause(self, number: int, state: State, cause: str) -> None:
        """Say each cause once: of a model that is broken, or a search too bold, many trials end alike."""
        kind = state, "" if state is State.DIVERGED else cause
        self._ends_alike[kind] += 1
        if self._ends_alike[kind] == 1:
            self.say(f"trial {number} {state.value}: {cause}")

    def __rich__(self) -> Table:
        lines = [Text(self._line()), Text(self._best_line(), style="green")]
        if self._notice:
            lines.append(Text(self._notice, style="yellow"))
        shown = Table.grid()
        shown.add_column()
        shown.add_row(bar(self._spec.trials, self._num_ended()))
        for line in lines:
            shown.add_row(line)
        return shown

    def _improves(self, value: float) -> bool:
        return improves(value, self._best and self._best[0], self._spec.mode)

    def _num_ended(self) -> int:
        return sum(self._counts[state] for state in State if state.has_ended)

    def _line(self) -> str:
        counts = ", ".join(
            f"{self._counts[state]} {state}" for state in State if self._counts[state] and state.has_ended
        )
        left = self._counts[State.INTERRUPTED]
        parts = [f"{self._spec.name}: {self._num_ended()}/{self._spec.trials} trials ended"]
        parts += [f"({counts})"] if counts else []
        counted = [f"{len(self._running)} {self._verb()}{self._epochs()}"] if self._running else []
        counted += [f"{left} interrupted"] if left else []
        return " ".join([", ".join([" ".join(parts), *counted]), self._pace()])

    def _epochs(self) -> str:
        if self._num_ended() or not self._furthest:
            return ""
        return f" (the furthest at epoch {self._furthest} of {self._spec.epochs})"

    def _describe(self, trial: TrialSpec | TrialRecord) -> str:
        """Return what a trial has that not all have."""
        return describe({k: v for k, v in trial.hyperparameters.items() if k not in self._spec.fixed})

    def _verb(self) -> str:
        return "running" if self._since_s is not None else "starting"

    def _pace(self) -> str:
        if self._phase:
            return f"- {self._phase}, {time.monotonic() - self._start_s:.0f} s so far"
        enough = max(2, self._spec.trials // ENOUGH)  # those that are stopped early end first
        if self._ended_here < enough or self._since_s is None or self._notice:
            return f"- {time.monotonic() - self._start_s:.0f} s so far"
        per_s = self._ended_here / max(self._last_end_s - self._since_s, 1e-3)
        left = self._spec.trials - self._num_ended()
        pace = f"- {60 * per_s:.3g} trials/min"
        if left <= 0:
            return f"{pace} once workers were up"
        left_s = left / per_s - (time.monotonic() - self._last_end_s)  # counts down between ends
        return f"{pace}, about {duration(left_s)} left" if left_s > 0 else pace

    def _best_line(self, *, spelt_out: bool = True) -> str:
        if self._best is None:
            return "no result yet"
        value, trial, epoch = self._best
        found = f" {self._hyperparameters.get(trial, '')}" if spelt_out else ""
        state = self._states.get(trial, State.RUNNING)
        end = f", {IN_WORDS.get(state, state.value)}" if state in ENDED_EARLY else ""
        return f"best so far: {self._spec.metric}={value:.5g} (trial {trial}, epoch {epoch}{end}){found}"

    def _print_now_and_then(self) -> None:
        """Print a line where there is no terminal; the best hyperparameters where those are new."""
        if self._live is None and time.monotonic() - self._printed_s > PLAIN_INTERVAL_S:
            trial = self._best and self._best[1]
            self.say(f"{self._line()}; {self._best_line(spelt_out=trial != self._printed_best)}")
            self._printed_s, self._printed_best = time.monotonic(), trial


def bar(total: int, completed: int) -> ProgressBar:
    """Return a bar whose end differs from its beginning also where a terminal has but 16 colours."""
    return ProgressBar(
        total=total, completed=completed, width=60, complete_style="green", finished_style="green"
    )


def describe(hyperparameters: dict[str, object]) -> str:
    """Return hyperparameters as one short line."""
    return " ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in hyperparameters.items()
    )


def duration(seconds: float) -> str:
    """Return seconds as 0:05 or 1:02:03; nothing takes less than 0:01."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
