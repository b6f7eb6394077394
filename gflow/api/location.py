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


def folders(explicit: str | None, environ: Mapping[str, str], uid: int) -> list[str]:
    """Where to look, in this order; the first is where a supervisor of the user's own is started.

    A folder whose socket's path would be too long is replaced by ``/tmp/gflow-<uid>``.
    """
    fallback = f"/tmp/gflow-{uid}"
    named = explicit or environ.get("GFLOW_RUNTIME_DIR")
    if named:
        return [_short(os.path.abspath(named), fallback)]
    session = environ.get("XDG_RUNTIME_DIR")
    own = [_short(os.path.abspath(os.path.join(session, "gflow")), fallback)] if session else []
    return list(dict.fromkeys([*own, fallback, SYSTEM_DIR]))


def _short(folder: str, fallback: str) -> str:
    """The folder, unless the supervisor could not bind in it (it binds ``….new`` and renames)."""
    length = len(os.fsencode(os.path.join(folder, SOCKET_NAME))) + len(".new")
    return folder if length <= _MAX_SOCKET_PATH else fallback


def find_socket(
    explicit: str | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[str | None, str]:
    """(path of the socket, or None; why there is none)."""
    uid = os.getuid()
    found, problems = [], []
    for folder in folders(explicit, environ, uid):
        path = os.path.join(folder, SOCKET_NAME)
        problem = _problem(folder, path, uid)
        if problem is None:
            found.append(path)
        else:
            problems.append(problem)
    if not found:
        return None, problems[0]
    # A supervisor that was killed leaves its socket behind; another one may live elsewhere.
    alive = found if len(found) == 1 else filter(_is_alive, found)
    return next(iter(alive), found[0]), ""


def _is_alive(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:
            return True  # its queue is full: somebody is there
        except OSError:
            return False
    return True


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
