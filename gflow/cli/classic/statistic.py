"""``gstats``: figures over jobs, as a table, JSON or CSV."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from gflow.api import dialect
from gflow.api.client import Client
from gflow.cli import rendering
from gflow.cli.classic import notation, queue, sheet
from gflow.cli.command import Parser

Record = dict[str, Any]

_TOP = 5
_WIDTH = 72


def parser() -> Parser:
    """Options of gstats."""
    made = Parser(prog="gstats", description="Figures over jobs.")
    who = made.add_mutually_exclusive_group().add_argument
    who("-u", "--user", metavar="NAME", help="of this user; all: of everybody (me)")
    who("-a", "--all-users", action="store_true", help="of everybody")
    add = made.add_argument
    add(
        "-t",
        "--since",
        type=notation.stated(notation.since),
        metavar="T",
        help="2h, 7d, today, a date",
    )
    add("-o", "--output", default="table", metavar="FORMAT", help="table, json, csv")
    return made


def run(words: list[str]) -> int:
    """The command."""
    options = parser().parse_args(words)
    everybody = options.all_users or options.user == "all"
    user = None if everybody else options.user or str(os.getuid())
    with Client() as client:
        states = frozenset(dialect.NAMES)
        records = queue.collect(client, states, None if user is None else [user])
    since = options.since
    figures = summary([r for r in records if since is None or r["submitted_at"] >= since])
    shown = {"user": _name(user, records), "since": None if since is None else int(since)}
    if options.output == "json":
        print(json.dumps({**shown, **figures}, indent=2, ensure_ascii=False))
    elif options.output == "csv":
        print(_csv(figures))
    else:
        print(_table(shown, figures))
    return 0


def _name(user: str | None, records: list[Record]) -> str | None:
    if user is not None and user.isdigit():
        return records[0]["user"] if records else os.environ.get("USER", user)
    return user


def summary(records: list[Record]) -> Record:
    """The figures; held jobs count in the total alone."""
    now = time.time()
    counts = dict.fromkeys(dialect.NAMES, 0)
    waits, runtimes, top, gpu_s = [], [], [], 0.0
    for one in records:
        state = dialect.state(one)
        counts[state] += 1
        if one["started_at"] is None:
            continue
        runtime = max(0.0, (one["finished_at"] or now) - one["started_at"])
        waits.append(max(0.0, one["started_at"] - one["submitted_at"]))
        gpu_s += one["resources"]["gpus"] * runtime
        top.append((runtime, one))
        if state in ("Finished", "Failed", "Timeout"):
            runtimes.append(runtime)
    top.sort(key=lambda pair: (-pair[0], pair[1]["id"]))
    asked = [one["resources"]["gpus"] for one in records]
    ended = sum(counts[state] for state in ("Finished", "Failed", "Cancelled", "Timeout"))
    return {
        "total_jobs": len(records),
        "completed_jobs": counts["Finished"],
        "failed_jobs": counts["Failed"],
        "cancelled_jobs": counts["Cancelled"],
        "timeout_jobs": counts["Timeout"],
        "running_jobs": counts["Running"],
        "queued_jobs": counts["Queued"],
        "avg_wait_secs": sum(waits) / len(waits) if waits else None,
        "avg_runtime_secs": sum(runtimes) / len(runtimes) if runtimes else None,
        "total_gpu_hours": gpu_s / 3600.0,
        "jobs_with_gpus": sum(1 for gpus in asked if gpus),
        "avg_gpus_per_job": sum(asked) / len(asked) if asked else 0.0,
        "peak_gpu_usage": max(asked, default=0),
        "success_rate": 100.0 * counts["Finished"] / ended if ended else 0.0,
        "top_jobs": [
            {
                "id": one["id"],
                "name": dialect.run_name(one),
                "runtime_secs": runtime,
                "gpus": one["resources"]["gpus"],
            }
            for runtime, one in top[:_TOP]
        ],
    }


def _csv(figures: Record) -> str:
    places = {
        "avg_wait_secs": 1,
        "avg_runtime_secs": 1,
        "total_gpu_hours": 2,
        "avg_gpus_per_job": 2,
        "success_rate": 1,
    }
    lines = ["metric,value"]
    for name, value in figures.items():
        if name == "top_jobs":
            continue
        text = (
            "" if value is None else f"{value:.{places[name]}f}" if name in places else str(value)
        )
        lines.append(f"{name},{text}")
    return "\n".join(lines)


def _table(shown: Record, figures: Record) -> str:
    active = figures["running_jobs"] + figures["queued_jobs"]
    since = "all time" if shown["since"] is None else sheet.utc(shown["since"])
    user = shown["user"] or "all users"
    head = f"Usage Statistics  user: {user}  since: {since}  active: {active}"
    lines = [rendering.escape(head), "─" * _WIDTH, "", "Job Status", *_status(figures, active)]
    lines += ["", "Efficiency"]
    lines += [
        _line("Avg Wait Time:", _clock(figures["avg_wait_secs"])),
        _line("Avg Runtime:", _clock(figures["avg_runtime_secs"])),
        _line("Total GPU-Hours:", f"{figures['total_gpu_hours']:.1f}h"),
        _line("Success Rate:", f"{figures['success_rate']:.1f}%"),
        "",
        "GPU Usage",
        _line("Jobs with GPUs:", _share(figures["jobs_with_gpus"], figures["total_jobs"])),
        _line("Avg GPUs/Job:", f"{figures['avg_gpus_per_job']:.1f}"),
        _line("Peak GPU Usage:", str(figures["peak_gpu_usage"])),
    ]
    if figures["top_jobs"]:
        lines += ["", "Top Jobs by Runtime"]
        lines.append(f"  {'#':<3}{'JOBID':>7}  {'NAME':<34}  {'RUNTIME':>8}  {'GPUS':>4}")
        lines.append("  " + "─" * 62)
    for rank, one in enumerate(figures["top_jobs"], 1):
        name = rendering.cut(rendering.escape(one["name"]), 34)
        runtime = sheet.clock(one["runtime_secs"])
        lines.append(f"  {f'{rank}.':<3}{one['id']:>7}  {name:<34}  {runtime:>8}  {one['gpus']:>4}")
    return "\n".join(lines)


def _status(figures: Record, active: int) -> list[str]:
    ended = sum(figures[f"{n}_jobs"] for n in ("completed", "failed", "cancelled", "timeout"))
    total = figures["total_jobs"]
    lines = [_line("Total Jobs:", str(total))]
    for title, name in (
        ("Completed:", "completed_jobs"),
        ("Failed:", "failed_jobs"),
        ("Cancelled:", "cancelled_jobs"),
        ("Timeout:", "timeout_jobs"),
    ):
        if name != "timeout_jobs" or figures[name]:
            lines.append(_line(title, _share(figures[name], ended)))
    if active:
        lines.append(_line("Running:", _share(figures["running_jobs"], total)))
        lines.append(_line("Queued:", _share(figures["queued_jobs"], total)))
    return lines


def _line(title: str, value: str) -> str:
    return f"  {title:<16} {value}"


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole if whole else 0:.0f}%)"


def _clock(seconds: float | None) -> str:
    return "-" if seconds is None else sheet.clock(seconds)
