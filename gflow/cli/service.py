"""``start``, ``status``, ``info`` and ``ping``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from gflow.api.client import Client
from gflow.api.quantity import format_duration, format_size
from gflow.api.wire import Unreachable
from gflow.cli.command import Parser
from gflow.cli.rendering import Column, escape, moment, print_table
from gflow.cli.session import Session

#: A supervisor that is silent for so long is stopped, or worse.
_PING_S = 10.0


def configure(name: str, parser: Parser) -> None:
    """Options of one of them."""
    add = parser.add_argument
    if name == "start":
        add("--state-dir", metavar="DIR", help="where jobs are remembered")
        add("--gflow-api", action="store_true", help="serve the older HTTP API too")


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Do it."""
    commands = {"start": _start, "status": _status, "info": _info, "ping": _ping}
    return commands[name](options, session)


def _ping(options: argparse.Namespace, session: Session) -> int:
    began = time.monotonic()
    with Client(session.runtime_dir, timeout_s=_PING_S) as client:
        answer = client.ping()
    took_ms = (time.monotonic() - began) * 1000
    if session.as_json:
        session.print_json({**answer, "took_ms": took_ms})
    else:
        print(f"gflow {answer['version']} answers (pid {answer['pid']}, {took_ms:.1f} ms)")
    return 0


# --- start -----------------------------------------------------------------------------


def _start(options: argparse.Namespace, session: Session) -> int:
    try:
        with Client(session.runtime_dir, timeout_s=_PING_S) as client:
            answer = client.ping()
    except Unreachable:
        from gflow.cli import spawning

        flags = ("--gflow-api",) if options.gflow_api else ()
        pid, text = spawning.start(session.runtime_dir, options.state_dir, *flags), "is ready"
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
    why = f" ({status['state_dir_reason']})" if status.get("state_dir_reason") else ""
    print(f"state      {escape(str(status.get('state_dir')) + why)}")
    for name, process in (status.get("processes") or {}).items():
        print(f"{name:<10} {_process(process)}")
    launcher = (status.get("processes") or {}).get("launcher") or {}
    polled = launcher.get("memory_limits_reason")
    print("limits     memory by " + escape(f"polling: {polled}" if polled else "control groups"))
    gap = status.get("loop_gap_ms") or {}
    print(f"loop gap   p50 {gap.get('p50')} ms, p99 {gap.get('p99')} ms, max {gap.get('max')} ms")
    jobs = status.get("jobs") or {}
    print("jobs       " + (", ".join(f"{n} {state}" for state, n in jobs.items() if n) or "none"))
    resources = status.get("resources") or {}
    print(f"free       {_resources(resources.get('free') or {}, resources.get('total') or {})}")
    for line in _drained(status):
        print(f"drained    {line}")
    for warning in (status.get("store") or {}).get("warnings") or ():
        print(f"warning    {escape(str(warning))}")
    return 0


def _drained(status: dict[str, Any]) -> Iterator[str]:
    """Since when, by whom and why nothing is started, if so."""
    drained = status.get("drained")
    if drained is None:
        return
    text = f"since {moment(drained['since_at'])}, by {drained.get('user') or drained['uid']}"
    if drained.get("by_at") is not None:
        text += f"; what ends before {moment(drained['by_at'])} is started still"
    yield escape(text + (f": {drained['reason']}" if drained.get("reason") else ""))


def _info(options: argparse.Namespace, session: Session) -> int:
    status = session.client.status()
    resources, cards = status.get("resources") or {}, status.get("gpus") or []
    if session.as_json:
        drained = status.get("drained")
        session.print_json({"resources": resources, "gpus": cards, "drained": drained})
        return 0
    owners = _owners(cards, session)
    for line in _drained(status):
        print(f"Drained {line}")
    total, free = resources.get("total") or {}, resources.get("free") or {}
    counted = {**total, **(total.get("gres") or {})}
    spare = {**free, **(free.get("gres") or {})}
    rows = [
        (name.removesuffix("_bytes"), _amount(name, spare.get(name)), _amount(name, amount))
        for name, amount in counted.items()
        if isinstance(amount, int | float)
    ]
    columns = (Column("WHAT"), Column("FREE", right=True), Column("TOTAL", right=True))
    print_table(columns, rows)
    if cards:
        print()
        print_table(_CARDS, [_card(card, owners) for card in cards])
        for card in cards:
            if card.get("unusable"):
                print(escape(f"gpu {card['index']} is kept back: {card['unusable']}"))
    gpu = (status.get("processes") or {}).get("gpu") or {}
    if gpu.get("state") == "stalled":
        print(f"The driver has not answered for {format_duration(gpu.get('silent_s') or 0)}")
    elif gpu.get("message"):
        print(escape(f"No driver is asked about cards: {gpu['message']}"))
    return 0


_CARDS = (
    Column("GPU", right=True),
    Column("NAME", shrinks=True),
    Column("USED", right=True),
    Column("MEM", right=True),
    Column("UTIL", right=True),
    Column("TEMP", right=True),
    Column("JOBS", shrinks=True),
    Column("STATE"),
)


def _card(card: dict[str, Any], owners: dict[int, str]) -> tuple[str, ...]:
    used, total = card.get("used_bytes"), card.get("memory_bytes")
    utilisation, temperature = card.get("utilisation"), card.get("temperature_c")
    jobs = card.get("jobs") or ()
    state = "kept back" if card.get("unusable") else "held" if jobs else "free"
    return (
        str(card.get("index")),
        str(card.get("name") or "-"),
        "-" if used is None else format_size(used),
        "-" if total is None else format_size(total),
        "-" if utilisation is None else f"{100 * utilisation:.0f}%",
        "-" if temperature is None else f"{temperature:.0f}°",
        ", ".join(f"{job} ({owners.get(job, '?')})" for job in jobs) or "-",
        state,
    )


def _owners(cards: list[dict[str, Any]], session: Session) -> dict[int, str]:
    """User and name of the jobs that hold cards."""
    ids = sorted({job for card in cards for job in card.get("jobs") or ()})
    if not ids:
        return {}
    return {
        record["id"]: f"{record.get('user')}, {record.get('name')}"
        for record in session.client.jobs(ids=ids)
    }


def _amount(name: str, amount: Any) -> str:
    if amount is None:
        return "-"
    return format_size(int(amount)) if name.endswith("_bytes") else f"{amount:g}"


def _process(process: dict[str, Any] | None) -> str:
    if not process:
        return "-"
    text = str(process.get("state"))
    if process.get("pid"):
        text += f", pid {process['pid']}"
    if process.get("message"):
        text += f", {process['message']}"
    if process.get("health", "ok") != "ok":
        text += f", {process['health']}"
    if process.get("restarts"):
        count = process["restarts"]
        text += f", restarted {count} time{'s' if count != 1 else ''}"
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
