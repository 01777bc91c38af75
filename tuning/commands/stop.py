"""`tuning stop`: a sweep that runs elsewhere begins no further trial and ends when those begun have."""

from argparse import Namespace

from tuning import endings, ledger, standing
from tuning.commands import Outcome
from tuning.endings import Answer, Ending
from tuning.errors import RequestError
from tuning.texts import status_line

WILL = {
    Ending.STOPPED: "begins no further trial and ends when those have ended that it has begun",
    Ending.CANCELLED: "lets running epochs end, saves, and ends",
}


def run(options: Namespace) -> Outcome:
    return ended(options, Ending.STOPPED)


def ended(options: Namespace, ending: Ending) -> Outcome:
    """Ask the driver of a sweep to end it, and say what it will do.

    Raises:
        RequestError: when nobody drives the sweep.
    """
    name = options.name
    found = ledger.open_sweep(name, options.home)
    if found.driver is None:
        stands = status_line(standing.sweep_facts(found))
        raise RequestError(f"Nothing to end, no process drives it now: {stands}.")
    answer = endings.ask(found.paths, ending)
    facts = {"sweep": name, "ending": ending, "driver": found.driver, "answer": answer}
    text = {
        Answer.HEARD: f"{name}: {found.driver} {WILL[ending]}",
        Answer.PENDING: f"{name}: {found.driver} has yet to hear it, as while it starts; it {WILL[ending]}",
        Answer.ENDED: f"{name}: {found.driver} has ended by itself meanwhile",
    }[answer]
    watch, resume = found.paths.command("status"), found.paths.command("resume")
    after = f"watch it: {watch} --watch; go on afterwards: {resume}"
    return facts, text if answer is Answer.ENDED else f"{text}\n{after}", 0
