"""What is wrong with a file for Ray's cluster launcher (`ray up FILE`), before it costs a machine."""

import contextlib
import copy
import io
import ipaddress
import json
import logging
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import ray.autoscaler
import yaml
from packaging.requirements import InvalidRequirement, Requirement
from ray.autoscaler._private.util import prepare_config, validate_config

from tuning.errors import RequestError
from tuning.naming import unknown
from tuning.schedule.survey import version_here

logging.getLogger("ray.autoscaler").setLevel(logging.WARNING)

COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)

LOCAL_KEYS = ("min_workers",)
"""Keys that Ray takes for machines that one has, and then turns into others."""

TOKEN = "~/.ray/auth_token"
PLACEHOLDER = "REPLACE"
DOCUMENTATION = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
"""Addresses that stand for others, in examples (RFC 5737)."""

STORAGE = re.compile(r"(?:TUNING_STORAGE=|--storage[= ])['\"]?([^\s'\";]+)")
HOST = re.compile(r"(?:--(?:dashboard-)?host[= ]|\s-h\s+|\bMLFLOW_HOST=)['\"]?([^\s'\";]+)")
INSTALL = re.compile(r"\bpip(?:3(?:\.\d+)?)?(?: -\S+)* install\b([^;&|\n]*)")
PROJECT = re.compile(r"\.venv/installed|requirements\.txt")


def read(file: Path) -> dict[str, Any]:
    """Return what a cluster file holds.

    Raises:
        RequestError: when it cannot be read, or is no mapping.
    """
    try:
        return read_text(file.read_text(encoding="utf-8"), file)
    except FileNotFoundError as error:
        raise RequestError(
            f"The cluster file {file} does not exist here; name one: tuning cluster check FILE."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"The cluster file {file} cannot be read: {error}") from error


def read_text(text: str, file: Path) -> dict[str, Any]:
    """Return what a cluster file of this text holds.

    Raises:
        RequestError: as `read`.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RequestError(f"The cluster file {file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise RequestError(f"The cluster file {file} must be a mapping, but it holds {type(found).__name__}.")
    return found


def check(config: Mapping[str, Any]) -> list[str]:
    """Return, in words, all that is wrong with a cluster file, and what would make it right."""
    found = [*_schema(config)]
    if found:  # what follows relies on the kinds of values
        return found
    found = [
        *_placeholders(config),
        *_workers(config),
        *_versions(config),
        *_token(config),
        *_addresses(config),
        *_storage(config),
        *_profiles(config),
    ]
    return list(dict.fromkeys(found)) or [*_prepared(config)]


def _schema(config: Mapping[str, Any]) -> Iterator[str]:
    """Hold the file against Ray's own schema."""
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text("utf-8"))
    provider = config.get("provider")
    is_local = isinstance(provider, Mapping) and provider.get("type") == "local"
    known = [*schema["properties"], *(LOCAL_KEYS if is_local else ())]
    for key in config:
        if key not in known:
            yield str(unknown("key", key, known))
    raw = {key: value for key, value in config.items() if key in schema["properties"]}
    errors = sorted(jsonschema.Draft7Validator(schema).iter_errors(raw), key=lambda error: list(error.path))
    yield from (f"{'.'.join(map(str, error.path)) or 'the file'}: {error.message}" for error in errors)
    if errors:
        return
    if is_local and not {"head_ip", "worker_ips"} <= config["provider"].keys():
        yield "provider: machines that one has are named by head_ip and worker_ips."


def _prepared(config: Mapping[str, Any]) -> Iterator[str]:
    """Have Ray prepare the file as `ray up` does."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # where Ray's launcher says what it goes by
            validate_config(prepare_config(copy.deepcopy(dict(config))))
    except Exception as error:  # whatever Ray stumbles over, a user would too
        yield f"Ray cannot prepare it: {type(error).__name__}: {error}"


def _placeholders(config: Mapping[str, Any]) -> Iterator[str]:
    for path, value in _leaves(config):
        if isinstance(value, str) and PLACEHOLDER in value:
            where = next(line.strip() for line in value.splitlines() if PLACEHOLDER in line)
            yield f"{path}: {where!r} stands for something of yours; put that there."
        elif isinstance(value, str) and _is_documentation(value):
            yield f"{path}: {value} is an address for examples only; put a machine's there."


def _is_documentation(value: str) -> bool:
    try:
        return any(ipaddress.ip_address(value) in network for network in DOCUMENTATION)
    except ValueError:
        return False


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value in a file that is not made of others, with the keys that lead to it."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _leaves(one, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _leaves(one, f"{path}[{index}]")
    else:
        yield path, value


def _workers(config: Mapping[str, Any]) -> Iterator[str]:
    """Compare least and most numbers of workers, of each kind and of all."""
    most = config.get("max_workers")
    if config["provider"]["type"] == "local":
        machines = len(config["provider"]["worker_ips"])
        most = machines if most is None else most
        least = config.get("min_workers", machines)
        if type(least) is not int:
            yield f"min_workers must be a whole number, but it is {least!r}."
            return
        if least > min(most, machines):
            yield f"min_workers ({least}) is more than max_workers ({most}) or worker_ips ({machines}) allow."
        if most > machines:
            yield f"max_workers ({most}) is more than there are worker_ips ({machines})."
        return
    types = config.get("available_node_types", {})
    for name, kind in types.items():
        least, own = kind.get("min_workers", 0), kind.get("max_workers", most)
        if own is not None and least > own:
            yield f"available_node_types.{name}: min_workers ({least}) is more than max_workers ({own})."
    total = sum(kind.get("min_workers", 0) for kind in types.values())
    if most is not None and total > most:
        yield f"max_workers ({most}) is less than the min_workers of all node types together ({total})."


def _versions(config: Mapping[str, Any]) -> Iterator[str]:
    """Look at what set-up commands install, Ray's own too: all pinned, and to what is installed here."""
    commands = "\n".join(_commands(_filled_in(config)))
    if not PROJECT.search(commands):
        yield "setup_commands: nothing installs this project; `make -C ~/tuning .venv/installed` does."
    for arguments in INSTALL.findall(commands):
        for requirement in _requirements(arguments):
            pins = [one.version for one in requirement.specifier if one.operator == "=="]
            here = version_here(requirement.name)
            if not pins:
                pin = f"; here it is {here}" if here else ""
                yield f"pip install {requirement}: pin its version (==){pin}."
            elif here not in (None, pins[0]):
                yield f"pip install {requirement}: here {requirement.name} is {here}; let both be the same."


def _filled_in(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a file with what Ray adds where it says nothing; as it is where Ray cannot prepare it."""
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        filled_in: Mapping[str, Any] = prepare_config(copy.deepcopy(dict(config)))
        return filled_in
    return config


def _requirements(arguments: str) -> Iterator[Requirement]:
    """Yield what a `pip install` names itself, past options, files and paths."""
    try:
        words = iter(shlex.split(arguments, comments=True))
    except ValueError:  # an open quote: the shell itself will say so
        return
    for word in words:
        if word in ("-r", "--requirement", "-e", "--editable", "-c", "--constraint", "--python", "-p"):
            next(words, None)
        elif not word.startswith(("-", ".", "/", "~", "$")):
            try:
                yield Requirement(word)
            except InvalidRequirement:
                continue


def _token(config: Mapping[str, Any]) -> Iterator[str]:
    """See that every node gets a token: `ray start` asks for none where there is no such file."""
    mounts = config.get("file_mounts", {})
    if TOKEN not in mounts:
        yield (
            f"file_mounts: {TOKEN} is missing, without which whoever reaches the cluster may run code on it; "
            f"add `{TOKEN}: {TOKEN}`."
        )
    elif not _has_text(mounts[TOKEN]):
        yield f"There is no token {mounts[TOKEN]} on this machine; make one: ray get-auth-token --generate"
    disabled = [one for one in _commands(config) if re.search(r"RAY_AUTH_MODE=['\"]?disabled", one)]
    yield from (f"{one!r} turns the token off." for one in disabled)


def _has_text(file: object) -> bool:
    """Whether a file is there that holds more than nothing."""
    path = Path(str(file)).expanduser()
    return path.is_file() and path.stat().st_size > 0


def _addresses(config: Mapping[str, Any]) -> Iterator[str]:
    for command in _commands(config):
        for host in HOST.findall(command):
            if host not in ("localhost", "127.0.0.1", "::1"):
                yield f"{command.strip()!r} listens on {host}; use 127.0.0.1, and look at it through ssh."


def _storage(config: Mapping[str, Any]) -> Iterator[str]:
    found = _places(config)
    if not found:
        yield "setup_commands: no TUNING_STORAGE names where checkpoints go, which every node must see."
    if len(found) > 1:
        yield f"TUNING_STORAGE must be one place, but the file names {', '.join(sorted(found))}."
    for path in sorted(found):
        scheme, separator, rest = path.partition("://")
        local = rest if separator and scheme in ("file", "local") else None if separator else path
        if local is not None and re.match(r"(?!/)|/(tmp|home|root|var/tmp)(/|$)", local):
            yield f"The storage {path} lies on each node's own disk; name a shared folder, or a URI as s3://..."


def _profiles(config: Mapping[str, Any]) -> Iterator[str]:
    """See that nodes on AWS may write to a bucket: what Ray lets its nodes do, it lets the head alone."""
    uses_bucket = any(path.startswith("s3://") for path in _places(config))
    if config["provider"]["type"] != "aws" or not uses_bucket:
        return
    for name, kind in config.get("available_node_types", {}).items():
        if "IamInstanceProfile" not in kind.get("node_config", {}):
            yield (
                f"available_node_types.{name}.node_config: no IamInstanceProfile, without which the node "
                "cannot write to the bucket of TUNING_STORAGE; name one whose role may."
            )


def _places(config: Mapping[str, Any]) -> set[str]:
    """Return what the file's commands name as the storage."""
    return {path for command in _commands(config) for path in STORAGE.findall(command)}


def _commands(config: Mapping[str, Any]) -> list[str]:
    return [command for key in COMMANDS for command in config.get(key) or []]
