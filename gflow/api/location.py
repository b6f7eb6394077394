"""Where a supervisor is found: its runtime folder and the socket in it (DESIGN, section 7).

``--runtime-dir`` or ``GFLOW_RUNTIME_DIR`` name the one folder; otherwise
``$XDG_RUNTIME_DIR/gflow``, ``/tmp/gflow-<uid>`` and ``/run/gflow`` are looked at in this order.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping

SOCKET_NAME = "gflow.sock"
SYSTEM_DIR = "/run/gflow"
#: unix(7): sun_path holds 108 bytes, one of them the terminating zero.
_MAX_SOCKET_PATH = 107


def named_dir(explicit: str | None, environ: Mapping[str, str]) -> str | None:
    """The folder that the user names, made absolute; None when there is none."""
    named = explicit or environ.get("GFLOW_RUNTIME_DIR")
    return os.path.abspath(named) if named else None


def user_dirs(environ: Mapping[str, str], uid: int) -> list[str]:
    """Where a user's own supervisor may be, the first being where one is started."""
    dirs = []
    session = environ.get("XDG_RUNTIME_DIR", "")
    if session.startswith("/") and os.path.isdir(session):
        own = os.path.join(session, "gflow")
        if len(os.fsencode(os.path.join(own, SOCKET_NAME))) <= _MAX_SOCKET_PATH:
            dirs.append(own)
    dirs.append(f"/tmp/gflow-{uid}")
    return dirs


def find_socket(
    explicit: str | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[str | None, str]:
    """(path of the socket, or None; why there is none)."""
    named = named_dir(explicit, environ)
    uid = os.getuid()
    problems = []
    for folder in [named] if named else [*user_dirs(environ, uid), SYSTEM_DIR]:
        path = os.path.join(folder, SOCKET_NAME)
        problem = _problem(folder, path, uid)
        if problem is None:
            return path, ""
        problems.append(problem)
    return None, problems[0]


def _problem(folder: str, path: str, uid: int) -> str | None:
    try:
        info = os.lstat(folder)
    except OSError as error:
        return f"there is no {folder}: {error.strerror}"
    if not stat.S_ISDIR(info.st_mode):
        return f"{folder} is not a folder"
    if info.st_uid not in (uid, 0):
        return f"{folder} belongs to user {info.st_uid}, not to you: nothing in it is trusted"
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        return f"there is no {path}: {error.strerror}"
    return None if stat.S_ISSOCK(mode) else f"{path} is not a socket"


def connect(sock: socket.socket, path: str) -> None:
    """Connect to a socket file however long its path is."""
    _through_folder(sock.connect, path)


def bind(sock: socket.socket, path: str) -> None:
    """Bind to a socket file however long its path is."""
    _through_folder(sock.bind, path)


def _through_folder(call: object, path: str) -> None:
    assert callable(call)
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        call(path)
        return
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.close(folder)
