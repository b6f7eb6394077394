"""``stop``: ask the supervisor for an orderly end, wait for it, say what was not saved."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import struct
from typing import Any

from gflow.api import location
from gflow.api.quantity import parse_duration
from gflow.api.wire import Unreachable
from gflow.cli.command import Failure, Parser, written
from gflow.cli.session import Session

#: The join of the persister takes up to 30 s (DESIGN, section 2).
_STOP_S = 60.0


def configure(name: str, parser: Parser) -> None:
    """How long to wait."""
    parser.add_argument(
        "--timeout",
        type=written(parse_duration),
        default=_STOP_S,
        metavar="TIME",
        help="how long to wait for its end (60s)",
    )


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """End it."""
    path, problem = location.find_socket(session.runtime_dir)
    if path is None:
        raise Unreachable(f"no supervisor runs: {problem}")
    pid = _owner(path)
    pidfd = _end(pid, options.timeout)
    os.close(pidfd)
    last = _last_words(os.path.dirname(path), pid)
    unsaved = int(last.get("unsaved") or 0)
    if session.as_json:
        session.print_json({"pid": pid, "unsaved": unsaved})
    if unsaved:
        raise Failure(f"the supervisor has ended, but {unsaved} records were not saved")
    session.print(f"gflow has ended (pid {pid}); running jobs live on")
    return 0


def _owner(path: str) -> int:
    """The process that listens at a socket, as the kernel says (unix(7), SO_PEERCRED)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(10.0)
        try:
            sock.connect(path)
        except OSError as error:
            raise Unreachable(f"no supervisor answers at {path}: {error.strerror}") from None
        return int(
            struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        )


def _end(pid: int, timeout_s: float | None) -> int:
    """Ask for an orderly end and wait for it; the descriptor of the ended process."""
    try:
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    except ProcessLookupError:
        raise Unreachable(f"the supervisor (pid {pid}) has just ended") from None
    except PermissionError:
        raise Failure(f"the supervisor (pid {pid}) is not yours to stop") from None
    if not select.select([pidfd], [], [], timeout_s)[0]:
        raise Failure(
            f"the supervisor (pid {pid}) has not ended within {timeout_s:g} s; it goes on trying"
        )
    return pidfd


def _last_words(folder: str, pid: int) -> dict[str, Any]:
    """What the supervisor left behind about its end (``last-end`` beside the socket)."""
    try:
        with open(os.path.join(folder, "last-end"), encoding="utf-8") as file:
            words = json.loads(file.read(65536))
    except (OSError, ValueError):
        return {}
    return words if isinstance(words, dict) and words.get("pid") == pid else {}
