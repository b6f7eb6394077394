"""``queue``, ``history``, ``show`` and ``explain``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gflow.api.moment import parse_past
from gflow.api.quantity import format_duration, format_size, signal_name
from gflow.cli import curve, outcome, rendering, selection, transition
from gflow.cli.command import Parser, whole, written
from gflow.cli.rendering import Column, escape, moment
from gflow.cli.session import Session

Record = dict[str, Any]

_QUEUE = (
    Column("JOBID", shrinks=True),
    Column("NAME", shrinks=True),
    Column("USER", shrinks=True),
    Column("ST"),
    Column("TIME", right=True),
    Column("LIMIT", right=True),
    Column("CPU", right=True),
    Column("MEM", right=True),
    Column("GPU", right=True),
    Column("REASON", shrinks=True),
)
_QUEUE_STYLES = ("bold", None, None, "state", None, "dim", None, None, None, "dim")
_HISTORY = (
    Column("JOBID", shrinks=True),
    Column("NAME", shrinks=True),
    Column("USER", shrinks=True),
    Column("STATE"),
    Column("EXIT", right=True),
    Column("TIME", right=True),
    Column("ENDED"),
)
_HISTORY_STYLES = ("bold", None, None, "state", None, None, "dim")


_STATES = """\
states: PD PENDING, R RUNNING, S SUSPENDED, CG COMPLETING, CD COMPLETED, F FAILED,
CA CANCELLED, TO TIMEOUT, OOM OUT_OF_MEMORY, NF NODE_FAIL; all
"""


def configure(name: str, parser: Parser) -> None:
    """Options of one of them."""
    add = parser.add_argument
    parser.epilog = _STATES if name in ("queue", "history") else None
    if name in ("show", "explain"):
        add("jobs", nargs="+" if name == "show" else 1, metavar="JOB", help="7, 7_3, @")
        if name == "show":
            add("--events", action="store_true", help="what it went through, too")
        return
    add("jobs", nargs="*", metavar="JOB", help="only these: 7, 3-9, 4,6")
    selection.add_filters(parser)
    add("-w", "--wide", action="store_true", help="cut nothing")
    if name == "queue":
        add("-a", "--all", action="store_true", help="also what ended lately")
    else:
        add("-S", "--since", type=written(_past), metavar="WHEN", help="2h, 7d, today, 2026-01-20")
        add("-E", "--before", type=written(_past), metavar="WHEN", help="ended before that")
        add("-n", "--limit", type=whole(1, 10**9), metavar="N", help="the latest N only")


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Fetch and print."""
    commands = {"queue": _queue, "history": _history, "show": _show, "explain": _explain}
    return commands[name](options, session)


def _past(text: str) -> float:
    return parse_past(text, time.time())


# --- tables -------------------------------------------------------------------------------------


def _queue(options: argparse.Namespace, session: Session) -> int:
    filters = selection.filters(options)
    ids = selection.references(options.jobs) or None
    records = session.client.each_job(ended=options.all, ids=ids, **filters)
    if session.as_json:
        session.print_json_list(records)
        return 0
    now = time.time()
    rows = (_queue_row(record, now) for record in records)
    rendering.print_table(_QUEUE, rows, wide=options.wide, styles=_QUEUE_STYLES)
    return 0


def _queue_row(record: Record, now: float) -> tuple[str, ...]:
    resources = record.get("resources") or {}
    memory = resources.get("memory_bytes")
    limit = record.get("time_limit_s")
    return (
        outcome.job_name(record),
        str(record.get("name") or ""),
        str(record.get("user") or record.get("uid") or ""),
        rendering.STATES.get(record["state"], (record["state"], ""))[0],
        _elapsed(record, now),
        "-" if limit is None else format_duration(limit),
        str(resources.get("cpus", "")),
        format_size(memory) if memory else "-",
        str(resources.get("gpus") or "-"),
        str(record.get("reason") or ""),
    )


def _elapsed(record: Record, now: float) -> str:
    started = record.get("started_at")
    if started is None:
        return "-"
    return format_duration((record.get("finished_at") or now) - started)


def _history(options: argparse.Namespace, session: Session) -> int:
    filters = selection.filters(options)
    ids = selection.references(options.jobs) or None
    records = session.client.each_past_job(
        since=options.since, before=options.before, limit=options.limit, ids=ids, **filters
    )
    if session.as_json:
        session.print_json_list(records)
        return 0
    rows = (_history_row(record) for record in records)
    rendering.print_table(_HISTORY, rows, wide=options.wide, styles=_HISTORY_STYLES)
    return 0


def _history_row(record: Record) -> tuple[str, ...]:
    return (
        outcome.job_name(record),
        str(record.get("name") or ""),
        str(record.get("user") or record.get("uid") or ""),
        record["state"],
        _exit_text(record),
        _elapsed(record, time.time()),
        moment(record.get("finished_at")),
    )


def _exit_text(record: Record) -> str:
    if record.get("signal") is not None:
        return signal_name(record["signal"])
    code = record.get("exit_code")
    return "-" if code is None else str(code)


# --- single jobs --------------------------------------------------------------------------------


def _show(options: argparse.Namespace, session: Session) -> int:
    records = []
    for job in selection.references(options.jobs):
        record = session.client.job(job)
        if options.events:
            record = {**record, "events": session.client.transitions(record["id"])}
        records.append(record)
    if session.as_json:
        session.print_json(records)
        return 0
    for number, record in enumerate(records):
        if number:
            print()
        for line in _details(record):
            print(line)
    return 0


def _details(record: Record) -> Iterator[str]:
    rest = dict(record)
    events = rest.pop("events", None)
    usage = dict(rest.get("usage") or {})
    series = usage.pop("series", None)
    rest["usage"] = usage
    yield f"Job {outcome.job_name(record)}"
    for key, value in rest.items():
        if _says_nothing(value) or key in ("id", "gid"):
            continue
        yield f"  {key:<18} {worded(key, value)}"
    yield from curve.lines(series or {})
    for event in events or ():
        yield f"  {transition.sentence(event)}"


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or value == [] or value == {}


def worded(key: str, value: Any) -> str:
    """A value of a record or of a specification for people, by the unit in its name."""
    if key.endswith("_at") and isinstance(value, int | float):
        return moment(value)
    if key.endswith("_s") and isinstance(value, int | float):
        return format_duration(value) if value >= 60 else f"{value:.3g} s"
    if key.endswith("_bytes") and isinstance(value, int):
        return format_size(value)
    if key == "umask" and isinstance(value, int):
        return f"{value:04o}"
    if key == "signal":
        return signal_name(value)
    if key == "command" and isinstance(value, list):
        import shlex

        return escape(shlex.join(value))
    if isinstance(value, dict):
        shown = {name: item for name, item in value.items() if not _says_nothing(item)}
        return ", ".join(f"{escape(name)}={worded(name, item)}" for name, item in shown.items())
    if isinstance(value, list):
        return ", ".join(worded("", item) for item in value if item is not None)
    return escape(str(value))


def _explain(options: argparse.Namespace, session: Session) -> int:
    (job,) = selection.references(options.jobs)[:1]
    answer = session.client.explain(job)
    if session.as_json:
        session.print_json(answer)
        return 0
    print("\n".join(explained(answer)))
    return 0


def _span(earliest: float, latest: float | None) -> str:
    if latest is None:
        return f"{moment(earliest)} at the earliest"
    return moment(latest) if earliest == latest else f"{moment(earliest)} to {moment(latest)}"


def explained(answer: Record) -> list[str]:
    """An explanation for people, its first line being about the job itself."""
    position = answer.get("position")
    place = f", number {position} in the queue" if position else ""
    lines = [f"Job {answer['job_id']} is {answer['state']}{place}"]
    lines += _blockers(answer.get("blockers") or (), answer.get("remedies") or ())
    for number, remedy in enumerate(answer.get("remedies") or ()):
        lead = "Would start now with:" if number == 0 else "                  or:"
        lines.append(escape(f"{lead} gflowctl update {answer['job_id']} {remedy}"))
    expected = answer.get("expected_start_at") or {}
    if expected.get("earliest") is not None:
        lines.append(f"Expected to start: {_span(expected['earliest'], expected.get('latest'))}")
    return lines


def _blockers(blockers: Iterable[Record], remedies: Sequence[str]) -> Iterator[str]:
    """``remedies`` stand below the blockers, as commands, and not with them again."""
    for blocker in blockers:
        until = f" (until {moment(blocker['until_at'])})" if blocker.get("until_at") else ""
        yield escape(f"  {blocker['reason']}: {blocker['message']}{until}")
        if blocker.get("remedy") and blocker["remedy"] != " or ".join(remedies):
            yield escape(f"    way out: {blocker['remedy']}")
