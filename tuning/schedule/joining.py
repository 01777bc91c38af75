"""Joining a Ray cluster that exists, and in the user's words what stands against it."""

import logging
import socket

import ray
from ray.exceptions import RuntimeEnvSetupError

from tuning.errors import RequestError, one_line
from tuning.schedule.shipping import OwnFiles, check, packed

MAX_REASON = 200
"""Characters of what Ray says."""


def join(address: str, own_files: OwnFiles | None) -> None:
    """Connect this process to the cluster at `address`.

    Args:
        own_files: what goes to every other node.

    Raises:
        RequestError: when there is no such cluster, it is of another kind, or files cannot be sent to it.
    """
    if own_files is not None:
        check(own_files)
    try:
        with packed(own_files) as runtime_env:
            ray.init(address=address, logging_level=logging.ERROR, runtime_env=runtime_env)
    except RuntimeEnvSetupError as error:
        raise RequestError(
            f"Your own files go to every node of the cluster, but cannot: {error}. Put them into a folder of "
            "their own; what .gitignore or .rayignore name there stays behind."
        ) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RequestError(_refusal(address, error)) from error


def _refusal(address: str, error: Exception) -> str:
    if "Version mismatch" in str(error):
        said = " ".join(str(error).split()).removeprefix("Version mismatch: ")
        return f"Python and Ray must be the same here and at --address {address!r}, but: {said}"
    if "runtime env" in str(error).lower():
        return (
            f"Your own files cannot be sent to the cluster's nodes: {one_line(error)[:MAX_REASON]}; "
            "leave py_modules, excludes and TUNING_... variables out of the job's runtime environment."
        )
    return (
        f"There is no Ray cluster at --address {address!r}: {error}. "
        "Start one (`ray start --head`), or use a local one (--address local); one that asks for a "
        "token wants it in ~/.ray/auth_token, and RAY_AUTH_MODE=token."
    )


def check_joined(address: str | None, own_files: OwnFiles | None, num_nodes: int) -> None:
    """Refuse what a process that has joined a cluster already cannot do any more.

    Raises:
        RequestError: another cluster is asked for, or files have to travel.
    """
    here = ray.get_runtime_context().gcs_address
    if address not in (None, "auto") and "://" not in address and not _is_same(address, here):
        raise RequestError(
            f"This process is connected to the Ray cluster at {here} already, not to the one at {address!r} "
            "(--address, or RAY_ADDRESS); leave it first (`ray.shutdown()`), or ask for no other."
        )
    if own_files is not None and num_nodes > 1:
        raise RequestError(
            f"{own_files.folder} must go to every node of the cluster, but this process is connected to it "
            "already; leave that to the sweep (`ray.shutdown()`), which brings your files along."
        )


def _is_same(one: str, other: str) -> bool:
    """Whether two addresses, HOST:PORT, are of the same cluster, under whatever name of its host."""

    def resolved(address: str) -> tuple[str, str]:
        host, _, port = address.rpartition(":")
        try:
            ip = socket.gethostbyname(host)
        except OSError:
            return host, port
        return ray.util.get_node_ip_address() if ip.startswith("127.") else ip, port

    return resolved(one) == resolved(other)
