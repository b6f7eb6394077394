"""``start``, ``stop``, ``status`` and ``ping``."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import struct
import time
from typing import Any

from gflow.api import location
from gflow.api.quantity import format_duration, format_size, parse_duration
from gflow.api.wire import Unreachable
from gflow.cli.command import EXIT_FAILED, Failure, Parser, written
from gflow.cli.rendering import escape
from gflow.cli.session import Session

#: The join of the persister takes up to 30 s (DESIGN, section 2).
_STOP_S = 60.0


def configure(name: str, parser: Parser) -> None:
    """Options of one of them."""
    add = parser.add_argument
    if name == "start":
        add("--state-dir", metavar="DIR", help="where jobs are remembered")
    if name == "stop":
        add(
            "--timeout",
            type=written(parse_duration),
            default=_STOP_S,
            metavar="TIME",
            help="how long to wait for its end (60s)",
        )


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Do it."""
    commands = {"start": _start, "stop": _stop, "status": _status, "ping": _ping}
    return commands[name](options, session)


def _ping(options: argparse.Namespace, session: Session) -> int:
    began = time.monotonic()
    answer = session.client.ping()
    took_ms = (time.monotonic() - began) * 1000
    if session.as_json:
        session.print_json({**answer, "took_ms": took_ms})
    else:
        print(f"gflow {answer['version']} answers (pid {answer['pid']}, {took_ms:.1f} ms)")
    return 0


# --- start and stop -----------------------------------------------------------------------------


def _start(options: argparse.Namespace, session: Session) -> int:
    try:
        answer = session.client.ping()
    except Unreachable:
        from gflow.cli import spawning

        pid, text = spawning.start(session.runtime_dir, options.state_dir), "is ready"
    else:
        pid, text = answer["pid"], "runs already"
    if session.as_json:
        session.print_json({"pid": pid, "started": text == "is ready"})
    else:
        print(f"gflow {text} (pid {pid})")
    return 0


def _stop(options: argparse.Namespace, session: Session) -> int:
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
    wait_s = None if timeout_s is None else timeout_s
    if not select.select([pidfd], [], [], wait_s)[0]:
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


# --- status -------------------------------------------------------------------------------------


def _status(options: argparse.Namespace, session: Session) -> int:
    status = session.client.status()
    if session.as_json:
        session.print_json(status)
        return 0
    uptime = format_duration(status.get("uptime_s") or 0)
    print(f"gflow {status.get('version')}, pid {status.get('pid')}, up {uptime}")
    print(f"state      {escape(str(status.get('state_dir')))}")
    for name, process in (status.get("processes") or {}).items():
        print(f"{name:<10} {_process(process)}")
    gap = status.get("loop_gap_ms") or {}
    print(f"loop gap   p50 {gap.get('p50')} ms, p99 {gap.get('p99')} ms, max {gap.get('max')} ms")
    jobs = status.get("jobs") or {}
    print("jobs       " + (", ".join(f"{n} {state}" for state, n in jobs.items() if n) or "none"))
    resources = status.get("resources") or {}
    print(f"free       {_resources(resources.get('free') or {}, resources.get('total') or {})}")
    for problem in status.get("problems") or ():
        print(f"problem    {escape(str(problem))}")
    return 0 if not status.get("problems") else EXIT_FAILED


def _process(process: dict[str, Any] | None) -> str:
    if not process:
        return "-"
    text = f"{process.get('state')}, pid {process.get('pid')}"
    if process.get("restarts"):
        text += f", restarted {process['restarts']} times"
    if process.get("changed"):
        text += f", {process['changed']} records to save"
    if process.get("last_error"):
        text += f", {process['last_error']}"
    return escape(text)


def _resources(free: dict[str, Any], total: dict[str, Any]) -> str:
    parts = []
    for name, amount in total.items():
        if name.endswith("_bytes"):
            shown = f"{format_size(free.get(name, 0))} of {format_size(amount)}"
            parts.append(f"{shown} {name.removesuffix('_bytes')}")
        elif isinstance(amount, int | float):
            parts.append(f"{free.get(name, 0)} of {amount} {name}")
    return ", ".join(parts)
