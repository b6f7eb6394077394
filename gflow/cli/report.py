"""``report``: what jobs asked for and what they used, by user, project, day or state."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gflow.api.moment import parse_past
from gflow.api.quantity import format_duration, format_size
from gflow.cli import outcome, rendering, selection
from gflow.cli.command import EXIT_USAGE, Failure, Parser, written
from gflow.cli.rendering import Column, escape
from gflow.cli.session import Session

Record = dict[str, Any]

_GROUPS = ("user", "project", "day", "state")
_USUAL_PERIOD = "30d"
#: Below this share of what was asked for, a hint says what would have been enough.
_WASTEFUL = 0.5
#: Room above the measured peak that a hint leaves.
_MARGIN = 1.2


def configure(name: str, parser: Parser) -> None:
    """Options."""
    add = parser.add_argument
    add(
        "what",
        nargs="*",
        metavar="efficiency JOB | estimates",
        help="how jobs used what they asked for; how good predicted starts were",
    )
    add(
        "--by",
        default="user",
        metavar="GROUPS",
        help="one row per: user,project,day,state (default: user); days are UTC",
    )
    add("-u", "--user", metavar="NAME", help="of this user")
    add("-P", "--project", metavar="NAME", help="of this project")
    add(
        *("-S", "--since"),
        type=written(_past),
        metavar="WHEN",
        help=f"ended on that day or later: 7d, 2026-01-20, all (default: {_USUAL_PERIOD})",
    )
    add("-E", "--before", type=written(_past), metavar="WHEN", help="ended before that")
    add("--csv", action="store_true", help="comma-separated values")


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Fetch and print."""
    if options.what:
        word, *jobs = options.what
        if word == "estimates" and not jobs:
            return _estimates(options, session)
        if word != "efficiency" or not jobs:
            raise Failure(
                "the words are not understood: report efficiency JOB… or report estimates",
                EXIT_USAGE,
            )
        return _efficiency(selection.references(jobs), options, session)
    return _usage(options, session)


def _past(text: str) -> float:
    return 0.0 if text == "all" else parse_past(text, time.time())


# --- sums ---------------------------------------------------------------------------------------


def _usage(options: argparse.Namespace, session: Session) -> int:
    by, asked = _asked(options)
    report = session.client.report(by=by, **asked)
    _print(report, [title for title, _ in _COLUMNS], _cells, options, session)
    return 0


def _print(
    report: Record,
    titles: Sequence[str],
    cells: Callable[[Record], list[str]],
    options: argparse.Namespace,
    session: Session,
) -> None:
    """JSON, CSV or a table; ``cells`` of a row stand below ``titles``, beside its group."""
    by, rows = report["by"], report["rows"]
    if session.as_json:
        session.print_json(report)
    elif options.csv:
        _print_csv(rows, by)
    else:
        columns = [Column(word.upper(), shrinks=True) for word in by]
        columns += [Column(title, right=True) for title in titles]
        shown = [[*(str(row[word] or "-") for word in by), *cells(row)] for row in rows]
        rendering.print_table(columns, shown)


def _asked(options: argparse.Namespace) -> tuple[list[str], Record]:
    """What rows are told apart by, and which jobs count."""
    by = [word for word in options.by.split(",") if word]
    since = _past(_USUAL_PERIOD) if options.since is None else options.since
    which = {"user": options.user, "project": options.project}
    return by, {"since": since, "before": options.before, **which}


def _cells(row: Record) -> list[str]:
    return [cell(row) for _, cell in _COLUMNS]


def _share(used: float, asked: float) -> str:
    return f"{100 * used / asked:.0f}%" if asked > 0 else "-"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f}"


_COLUMNS: tuple[tuple[str, Callable[[Record], str]], ...] = (
    ("JOBS", lambda row: str(row["jobs"])),
    ("DONE", lambda row: _share(row["states"].get("COMPLETED", 0), row["jobs"])),
    ("WAIT", lambda row: format_duration(row["wait_s"] / row["jobs"]) if row["jobs"] else "-"),
    ("CPU-H", lambda row: _hours(row["cpu_asked_s"])),
    ("USED", lambda row: _share(row["cpu_s"], row["cpu_asked_s"])),
    ("GPU-H", lambda row: _hours(row["gpu_asked_s"])),
    ("USED", lambda row: _share(row["gpu_s"], row["gpu_asked_s"])),
    ("MEM", lambda row: _share(row["memory_byte_s"], row["memory_asked_byte_s"])),
)


def _print_csv(rows: Sequence[Record], by: Sequence[str]) -> None:
    import csv

    states = sorted({state for row in rows for state in row.get("states", ())})
    sums = [key for key in (rows[0] if rows else ()) if key not in (*by, "states")]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*by, *sums, *states])
    for row in rows:
        counts = [row["states"].get(state, 0) for state in states]
        writer.writerow([*(_plain(row[word]) for word in by), *(row[k] for k in sums), *counts])


def _plain(value: Any) -> str:
    """A name as a cell that no spreadsheet takes for a formula."""
    text = escape(str(value or ""))
    return f"'{text}" if text[:1] in "=+-@" and text else text


# --- predicted starts ---------------------------------------------------------------------------


def _estimates(options: argparse.Namespace, session: Session) -> int:
    by, asked = _asked(options)
    report = session.client.estimates(by=by, **asked)
    titles = ("JOBS", "ON TIME", "EARLY", "LATE", "USUALLY", "MEDIAN", "P90")
    _print(report, titles, _estimate_cells, options, session)
    if not (report["complete"] or session.as_json or options.csv):
        session.warn(f"only the latest {report['looked_at']} jobs of that time were looked at")
    return 0


def _estimate_cells(row: Record) -> list[str]:
    jobs, error_s = row["jobs"], row["median_error_s"]
    shares = [_share(row[name], jobs) for name in ("on_time", "early", "late")]
    usually = f"{'+' if error_s >= 0 else '-'}{format_duration(abs(error_s))}"
    return [str(jobs), *shares, usually, *(format_duration(row[k]) for k in ("median_s", "p90_s"))]


# --- one job ------------------------------------------------------------------------------------


def _efficiency(jobs: list[str], options: argparse.Namespace, session: Session) -> int:
    found = [_measures(session.client.job(job)) for job in jobs]
    if session.as_json:
        session.print_json(found)
        return 0
    if options.csv:
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["job_id", "state", "what", "used", "asked", "share"])
        for one in found:
            for name, measure in one["measures"].items():
                writer.writerow([one["job_id"], one["state"], name, *measure.values()])
        return 0
    for number, one in enumerate(found):
        if number:
            print()
        print(f"Job {one['job']} ({one['state']})")
        columns = (
            Column("WHAT"),
            *(Column(title, right=True) for title in ("USED", "ASKED", "SHARE")),
        )
        rendering.print_table(columns, [_measure_row(*item) for item in one["measures"].items()])
        for hint in one["hints"]:
            print(hint)
    return 0


def _measures(record: Record) -> Record:
    """What a job used of what it asked for; unknown is null."""
    resources, usage = record.get("resources") or {}, record.get("usage") or {}
    began = record.get("started_at")
    elapsed_s = None if began is None else (record.get("finished_at") or time.time()) - began
    cpus, gpus = resources.get("cpus") or 0, resources.get("gpus") or 0
    measures = {
        "time_s": _measure(elapsed_s, record.get("time_limit_s")),
        "cpu_s": _measure(usage.get("cpu_s"), elapsed_s and cpus * elapsed_s),
        "memory_bytes": _measure(
            usage.get("max_pss_bytes") or usage.get("max_rss_bytes"), resources.get("memory_bytes")
        ),
    }
    if gpus:
        measures["gpu_s"] = _measure(usage.get("gpu_s"), elapsed_s and gpus * elapsed_s)
        memory_bytes = resources.get("gpu_memory_bytes")
        measures["gpu_memory_bytes"] = _measure(usage.get("max_gpu_memory_bytes"), memory_bytes)
    return {
        "job_id": record["id"],
        "job": outcome.job_name(record),
        "state": record["state"],
        "measures": measures,
        "hints": _hints(measures, cpus, elapsed_s),
    }


def _measure(used: float | None, asked: float | None) -> Record:
    share = None if used is None or not asked else round(used / asked, 4)
    return {"used": used, "asked": asked, "share": share}


def _hints(measures: Record, cpus: int, elapsed_s: float | None) -> list[str]:
    """What the same job could ask for instead."""
    hints = []
    memory, cpu = measures["memory_bytes"], measures["cpu_s"]
    if memory["share"] is not None and memory["share"] < _WASTEFUL:
        hints.append(f"--mem {format_size(int(memory['used'] * _MARGIN))} would have been enough")
    if cpu["share"] is not None and cpu["share"] < _WASTEFUL and cpus > 1 and elapsed_s:
        busy = max(1, -(-int(cpu["used"] * _MARGIN) // max(1, int(elapsed_s))))
        if busy < cpus:
            hints.append(f"--cpus {busy} would have been enough on average")
    gpu = measures.get("gpu_s")
    if gpu is not None and gpu["share"] is not None and gpu["share"] < _WASTEFUL:
        hints.append(f"its gpus computed for {100 * gpu['share']:.0f}% of the time")
    return hints


def _measure_row(name: str, measure: Record) -> tuple[str, ...]:
    show = format_size if name.endswith("_bytes") else format_duration
    used, asked, share = measure.values()
    return (
        name.removesuffix("_bytes").removesuffix("_s").replace("_", " "),
        "-" if used is None else show(int(used)),
        "-" if not asked else show(int(asked)),
        "-" if share is None else f"{100 * share:.0f}%",
    )
