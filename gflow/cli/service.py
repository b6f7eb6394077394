"""``start``, ``status`` and ``ping``."""

from __future__ import annotations

import argparse
import time
from typing import Any

from gflow.api.quantity import format_duration, format_size
from gflow.api.wire import Unreachable
from gflow.cli.command import EXIT_FAILED, Parser
from gflow.cli.rendering import escape
from gflow.cli.session import Session


def configure(name: str, parser: Parser) -> None:
    """Options of one of them."""
    add = parser.add_argument
    if name == "start":
        add("--state-dir", metavar="DIR", help="where jobs are remembered")


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Do it."""
    commands = {"start": _start, "status": _status, "ping": _ping}
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


# --- start -----------------------------------------------------------------------------


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
