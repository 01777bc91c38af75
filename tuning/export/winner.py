"""The end of a sweep: its best model goes to MLflow's registry, and what became of that is said."""

from collections.abc import Callable

from tuning import paths, reuse
from tuning.errors import CheckpointError, SweepError, one_line
from tuning.export.champion import champion_of
from tuning.interrupt import within
from tuning.records import TrialRecord
from tuning.references import model_name
from tuning.study import Study
from tuning.tracking import confirmed
from tuning.tracking.champion import Champion
from tuning.tracking.messages import Answer

PATIENCE_S = 120.0
"""How long the end of a sweep waits for its best model to be exported: tracing runs the user's code."""

UNREGISTERED = "the best model is not in MLflow's model registry"


def challenger(study: Study, best: TrialRecord, confirm: str) -> str | None:
    """Return in words that another trial is champion, and stays it until the best one is confirmed.

    None where there is no champion yet, or the best is that trial, or was confirmed.

    Args:
        confirm: the command that does.
    """
    standing = study.facts.champion()
    if standing is None or standing[1] == best.number or study.facts.confirmed_mean(best.number) is not None:
        return None
    name, trial = standing
    return f"models:/{name}@champion stays trial {trial} until trial {best.number} is confirmed: `{confirm}`"


def candidate(study: Study, folder: str, best: TrialRecord, say: Callable[[str], None]) -> Champion | None:
    """Return the best model as the registry takes it; if it is no such, say so and return None."""
    try:
        with within(PATIENCE_S, SweepError(f"exporting it takes more than {PATIENCE_S:g} s")):
            loaded = reuse.load_of_sweep(paths.checkpoint_file(folder, best.number), study.spec, best.number)
            return champion_of(loaded, study.facts.test(best.number) or {}, study.facts.confirmation())
    except Exception as error:  # the user's model may raise anything
        known = isinstance(error, (SweepError, CheckpointError))
        say(f"{UNREGISTERED}: {one_line(error if known else f'{type(error).__name__}: {error}')}")
        return None


def crown(study: Study, folder: str, best: TrialRecord, uri: str, say: Callable[[str], None]) -> None:
    """Have the best model registered apart from the end of a sweep, and say what became of that."""
    sent = candidate(study, folder, best, say)
    if sent is not None:
        answer = confirmed.register(uri, model_name(study.spec.model), study.spec, sent)
        keep(answer, sent, study, say)


def keep(answer: Answer, sent: Champion, study: Study, say: Callable[[str], None]) -> None:
    """Say which model is the champion now, and keep that it need not be asked for again."""
    if answer.registered is not None:
        standing = answer.registered
        study.facts.set_champion(sent.trial, sent.confirmed, standing.name, standing.trial)
        say(str(answer.registered))
    elif answer.unregistered is not None:
        say(f"{UNREGISTERED}: {one_line(answer.unregistered)}")
