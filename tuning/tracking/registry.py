"""MLflow's model registry: a sweep's best model is `models:/<sweep>@champion`.

One registered model per sweep, a version per winner. A name that belongs to another sweep, or to somebody
else's model, gets the first 8 digits of the sweep's id.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuning.records import improves
from tuning.spec import SweepSpec
from tuning.tracking import champion as folders
from tuning.tracking import known
from tuning.tracking.champion import Champion

ALIAS = "champion"

CONFIRMED = "tuning.confirmed_mean"
"""The tag of a version that fresh seeds have confirmed: what it came to."""

EXISTS = "RESOURCE_ALREADY_EXISTS"

MISSING = "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True, slots=True)
class Registered:
    """The champion, after the question was asked whether it is to be another one."""

    name: str
    """Of the registered model: the sweep's, unless that is another's."""
    version: str
    trial: int
    is_new: bool
    """Whether the alias moved."""

    def __str__(self) -> str:
        word = "is now" if self.is_new else "stays"
        return f"{uri_of(self.name)} {word} trial {self.trial} (version {self.version})"


def uri_of(name: str) -> str:
    """Return how MLflow addresses the champion of a registered model."""
    return f"models:/{name}@{ALIAS}"


def tags_of_champion(client: Any, name: str) -> dict[str, str] | None:
    """Return the tags of a registered model's champion; None if there is no such model, or no champion.

    Raises:
        Exception: of MLflow, as from a server that has no registry.
    """
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_registered_model(name).aliases.get(ALIAS)
        return None if version is None else dict(client.get_model_version(name, version).tags)
    except MlflowException as error:
        if error.error_code != MISSING:
            raise
        return None


def depose(client: Any, name: str) -> None:
    """Take the alias from the champion there is, so that the next one need not beat it."""
    if tags_of_champion(client, name) is not None:
        client.delete_registered_model_alias(name, ALIAS)


def register(client: Any, spec: SweepSpec, candidate: Champion, run_id: str) -> Registered:
    """Make a model the sweep's champion if it beats the one there is; whatever dies, once.

    Without `candidate.confirmed` it beats none: of what a search finds later on, luck makes one look better
    again and again. With it, it beats one that was not confirmed, and else by the means: those of
    `candidate.over`, of the same seeds, which may be more than those that the champion had when it was
    registered; for others, which the study knows no more, the mean that the champion bears as a tag. A
    champion that is confirmed itself stays the version it is and gets the mean as a tag.

    Args:
        client: MLflow's.
        run_id: of the candidate's trial.

    Raises:
        Exception: of MLflow, as from a server that has no registry.
    """
    name = _own_model(client, spec)
    standing = _standing(client, name)
    if standing is not None and not _beats(candidate, standing.tags, spec):
        return Registered(name, str(standing.version), int(standing.tags["tuning.trial"]), is_new=False)
    found = _version_of(client, name, candidate)
    if found is None:
        found = _new_version(client, name, spec, candidate, run_id)
    if candidate.confirmed is not None:
        client.set_model_version_tag(name, found, CONFIRMED, repr(candidate.confirmed))
    is_new = standing is None or str(standing.version) != found
    if is_new:
        client.set_registered_model_alias(name, ALIAS, found)
    return Registered(name, found, candidate.trial, is_new)


def _own_model(client: Any, spec: SweepSpec) -> str:
    """Return the name of the sweep's registered model, which is made if there is none."""
    from mlflow.exceptions import MlflowException

    name = str(spec.name)
    for wanted in (name, f"{name}-{str(spec.id)[:8]}"):
        try:
            note = f"The best model of the sweep `{name}`: `{spec.model}` on `{spec.data}`."
            client.create_registered_model(wanted, known.sweep_tags(spec), note)
            return wanted
        except MlflowException as error:
            if error.error_code != EXISTS:
                raise
        if client.get_registered_model(wanted).tags.get("tuning.sweep_id") == spec.id:
            return wanted
    raise ValueError(f"both models {name!r} and {wanted!r} are registered by others")


def _standing(client: Any, name: str) -> Any:
    """Return the version that is champion; None if there is none, or what is was not made by a sweep."""
    version = client.get_registered_model(name).aliases.get(ALIAS)
    found = None if version is None else client.get_model_version(name, version)
    return found if found is not None and "tuning.trial" in found.tags else None


def _beats(candidate: Champion, standing: dict[str, str], spec: SweepSpec) -> bool:
    if candidate.confirmed is None:
        return False
    if CONFIRMED not in standing or int(standing["tuning.trial"]) in candidate.over:
        return True
    return improves(candidate.confirmed, float(standing[CONFIRMED]), spec.mode)


def _version_of(client: Any, name: str, candidate: Champion) -> str | None:
    """Return the version that this trial's model has already, as after a death before it became champion."""
    for found in client.search_model_versions(f"name = '{name}'"):
        if found.tags.get("tuning.trial") == str(candidate.trial) and found.status == "READY":
            return str(found.version)
    return None


def _new_version(client: Any, name: str, spec: SweepSpec, candidate: Champion, run_id: str) -> str:
    from mlflow.entities import LoggedModelOutput

    tags = {
        **known.sweep_tags(spec),
        "tuning.trial": str(candidate.trial),
        "tuning.epoch": str(candidate.epoch),
        "tuning.metric": str(spec.metric),
        "tuning.value": repr(candidate.value),
        **{key: repr(value) for key, value in candidate.metrics.items()},
    }
    params = {key: str(value) for key, value in candidate.hyperparameters.items()}
    experiment_id = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(experiment_id, name, run_id, tags, params)
    with tempfile.TemporaryDirectory() as folder:
        folders.write(
            candidate,
            Path(folder),
            model_id=logged.model_id,
            location=logged.artifact_location,
            run_id=run_id,
        )
        client.log_model_artifacts(logged.model_id, folder)
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=candidate.epoch)])
    made = client.create_model_version(
        name,
        logged.artifact_location,  # not models:/<id>, which MLflow looks up in this process's default store
        run_id,
        tags,
        description=candidate.usage(uri_of(name)),
        model_id=logged.model_id,
    )
    return str(made.version)
