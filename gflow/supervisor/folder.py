"""Folders of the supervisor: where state and socket live, and that nobody else can get at them."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from gflow.errors import ConfigError
from gflow.launching import place
from gflow.persistence import location
from gflow.process import identity

#: Longest path of a Unix socket (unix(7): 108 bytes with the terminating zero).
_SOCKET_BYTES = 107
_SYSTEM_RUNTIME = "/run/gflow"
_SYSTEM_STATE = "/var/lib/gflow"
SOCKET_NAME = "gflow.sock"


class Folders(NamedTuple):
    """Absolute paths, made and checked."""

    state: str
    runtime: str
    #: Why the state is not where one would look for it; None: it is.
    reason: str | None
    #: The state folder is on a network file system, because someone insists.
    network: bool
    #: The state folder was made just now.
    new: bool

    @property
    def socket(self) -> str:
        """Path of the API's socket."""
        return os.path.join(self.runtime, SOCKET_NAME)

    @property
    def logs(self) -> str:
        """Folder of the jobs' logs."""
        return os.path.join(self.state, "logs")

    @property
    def spool(self) -> str:
        """In system mode: where submitters reach their scripts and terminals, and nothing else."""
        return os.path.join(self.runtime, "spool")

    def terminal(self, job_id: int, attempt: int, *, system: bool) -> str:
        """Socket of an attempt's terminal."""
        folder = self.spool if system else os.path.join(self.state, "runs")
        return place.terminal_path(folder, job_id, attempt)


def prepare(
    state: str | None, runtime: str | None, *, system: bool, insist_on_network: bool
) -> Folders:
    """Choose, make and check both folders. Raises ConfigError.

    ``state`` and ``runtime`` are what the command line says; None falls back to the environment.
    """
    preferred = os.path.abspath(state or os.environ.get("GFLOW_STATE_DIR") or _state_dir(system))
    choice = location.choose(
        os.path.realpath(preferred),
        environment=os.environ,
        uid=os.getuid(),
        machine=identity.machine_id(),
        mounts=location.read_mounts(),
        insist=insist_on_network,
    )
    path = preferred if choice.reason is None else choice.path
    new = _make_private(path, 0o700)
    mode = 0o755 if system else 0o700
    return Folders(path, _runtime(runtime, mode, system), choice.reason, choice.network, new)


def _state_dir(system: bool) -> str:
    if system:
        return _SYSTEM_STATE
    home = os.environ.get("HOME", "/")
    return os.path.join(
        os.environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state"), "gflow"
    )


def _runtime(asked: str | None, mode: int, system: bool) -> str:
    path = asked or os.environ.get("GFLOW_RUNTIME_DIR")
    fallback = _fallback()
    if path is None and system:
        path = _SYSTEM_RUNTIME
    if path is None:
        base = os.environ.get("XDG_RUNTIME_DIR")
        path = os.path.join(base, "gflow") if base else fallback
    path = os.path.abspath(path)
    if len(os.fsencode(os.path.join(path, SOCKET_NAME))) + len(".new") > _SOCKET_BYTES:
        path = fallback
    _make_private(path, mode, shared=path == fallback)
    return path


def _fallback() -> str:
    """Where nothing else is: anybody may make folders there."""
    return f"/tmp/gflow-{os.getuid()}"


def _make_private(path: str, mode: int, *, shared: bool = False) -> bool:
    """Make a folder that only we can write to; True when it is new. Raises ConfigError.

    ``shared``: it is where anybody may make one, so that what is in it may be anybody's.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.mkdir(path, mode)
            new = True
        except FileExistsError:
            new = False
        found = os.lstat(path)
    except OSError as error:
        raise ConfigError(f"cannot use folder {path}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"cannot use folder {path}: it is no folder")
    if found.st_uid != os.getuid():
        raise ConfigError(
            f"cannot use folder {path}: it belongs to uid {found.st_uid}, not to uid {os.getuid()}"
        )
    if shared and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"cannot use folder {path}: others can write to it "
            f"(mode {stat.S_IMODE(found.st_mode):04o}): remove it"
        )
    if stat.S_IMODE(found.st_mode) != mode:
        try:
            os.chmod(path, mode)
        except OSError as error:
            raise ConfigError(f"cannot use folder {path}: {error.strerror}") from None
    return new
