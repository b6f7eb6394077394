"""``gqueue``: what waits and runs, as a table, a tree, JSON, CSV or YAML."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

from gflow.api import dialect
from gflow.api.client import Client
from gflow.api.dialect import NAMES
from gflow.cli.classic import notation, sheet, tree, viewing
from gflow.cli.command import EXIT_USAGE, Failure, Parser, whole

Record = dict[str, Any]

_DEFAULT_COLUMNS = "JOBID,NAME,ST,TIME,NODES,NODELIST(REASON)"
_ENDED = ("Finished", "Failed", "Cancelled", "Timeout")
_GROUPS = ("Running", "Hold", "Queued", "Finished", "Failed", "Cancelled", "Timeout")
_FORMATS = ("table", "json", "csv", "yaml")


def parser() -> Parser:
    """Options."""
    made = Parser(prog="gqueue")
    add = made.add_argument
    add("-u", "--user", "--users", metavar="LIST", help="of these users; all: of everybody (me)")
    add(
        "-n",
        "--limit",
        type=whole(-(2**31), 2**31),
        default=0,
        metavar="N",
        help="first N, last -N",
    )
    states = made.add_mutually_exclusive_group().add_argument
    states("-a", "--all", action="store_true", help="in whatever state")
    states("-c", "--completed", action="store_true", help="that have ended")
    states("-s", "--states", metavar="LIST", help="in these states (Queued,Hold,Running)")
    add("--since", metavar="T", help="submitted since: 2h, 7d, today, a date")
    add("-r", "--sort", default="id", metavar="FIELD", help="id, state, time, name, gpus, priority")
    add("-j", "--jobs", "--job", metavar="IDS", help="these jobs: 7, 3-9")
    add("-N", "--names", metavar="LIST", help="with these run names")
    add("-P", "--project", metavar="NAME", help="of this project")
    add("-f", "--format", default=_DEFAULT_COLUMNS, metavar="LIST", help="columns")
    add("-g", "--group", action="store_true", help="one table per state")
    add("-t", "--tree", action="store_true", help="jobs below those they depend on")
    add("-T", "--tmux", action="store_true", help="on a terminal, or shown in tmux")
    add("-o", "--output", default="table", metavar="FORMAT", help=", ".join(_FORMATS))
    add("-w", "--watch", action="store_true", help="again and again")
    add("--interval", type=whole(1, 86400), metavar="S", help="of --watch (2)")
    return made


def run(words: list[str]) -> int:
    """The command."""
    options = parser().parse_args(words)
    if options.interval is not None and not options.watch:
        raise Failure("--interval belongs to --watch; see gqueue --help", EXIT_USAGE)
    interval = options.interval or 2
    if options.output.lower() not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise Failure(f"Invalid output format '{options.output}'. Valid options: {known}")
    with Client() as client:
        while options.watch:
            text = _listing(client, options)
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            every = f"[Refreshing every {interval}s. Press Ctrl+C to exit]"
            print(f"\x1b[2J\x1b[HLast updated: {now}  {every}\n\n{text}", end="", flush=True)
            time.sleep(interval)
        print(_listing(client, options), end="")
    return 0


def _listing(client: Client, options: argparse.Namespace) -> str:
    records, notice = _cut(find(client, options), options)
    culprits = lost_to(client, records)
    kind = options.output.lower()
    if kind == "json":
        return json.dumps(_document(records, culprits), indent=2, ensure_ascii=False) + "\n"
    if kind == "csv":
        return _csv(records, culprits)
    if kind == "yaml":
        return _yaml(_document(records, culprits))
    if not records:
        return "No jobs found.\n"
    columns = [word.strip() for word in options.format.split(",")]
    show = _groups if options.group else _tree if options.tree else table
    return notice + show(records, columns, culprits)


# --- finding --------------------------------------------------------------------------------------


def wanted_states(options: argparse.Namespace) -> frozenset[str]:
    """States that the options name."""
    if options.all:
        return frozenset(NAMES)
    if options.completed:
        return frozenset(_ENDED)
    return dialect.state_names(options.states or "Queued,Hold,Running")


def find(client: Client, options: argparse.Namespace) -> list[Record]:
    """Records that the options mean, in the order that they ask for."""
    states = wanted_states(options)
    users = _users(options.user)
    found = collect(client, states, users)
    ids = None if options.jobs is None else set(notation.ids(options.jobs))
    names = None if options.names is None else set(_words(options.names))
    since = None if options.since is None else notation.since(options.since)
    shown = {session.job_id for session in viewing.sessions()} if options.tmux else None
    records = [
        one
        for one in found
        if (shown is None or one["terminal_path"] is not None or one["id"] in shown)
        and (ids is None or one["id"] in ids)
        and (names is None or dialect.run_name(one) in names)
        and (options.project is None or one["project"] == options.project)
        and (since is None or one["submitted_at"] >= since)
    ]
    _sort(records, options.sort)
    return records


def _cut(records: list[Record], options: argparse.Namespace) -> tuple[list[Record], str]:
    """The first or last of them, and a line that says so."""
    limit = 0 if options.all else options.limit
    if not limit or len(records) <= abs(limit):
        return records, ""
    kept, which = (records[:limit], "first") if limit > 0 else (records[limit:], "last")
    shown = f"Showing {which} {len(kept)} of {len(records)} jobs"
    return kept, f"{shown} (use --all or -n 0 to show all)\n\n"


def collect(client: Client, states: frozenset[str], users: list[str] | None) -> list[Record]:
    """Records in some states, of some users (None: of all), from memory and history, by id."""
    ours = [one for state in states for one in dialect.STATES[state]]
    ended = bool(states & set(_ENDED))
    filters: dict[str, Any] = {"states": ours}
    if users is not None:
        filters["users"] = users
    found = {one["id"]: one for one in client.each_job(ended=ended, **filters)}
    if ended:
        past = [one for state in states & set(_ENDED) for one in dialect.STATES[state]]
        for one in client.each_past_job(**{**filters, "states": past}):
            found.setdefault(one["id"], one)
    return [found[key] for key in sorted(found) if dialect.state(found[key]) in states]


def _users(text: str | None) -> list[str] | None:
    words = _words(text or "")
    if words in (["all"], ["*"]):
        return None
    return words or [str(os.getuid())]


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def lost_to(client: Client, records: list[Record]) -> dict[int, int]:
    """Cancelled job → the parent whose end made its dependencies impossible."""
    known = {one["id"]: one["state"] for one in records}
    found = {}
    for one in records:
        parents = dialect.lost_parents(one)
        for parent in parents:
            if parent not in known:
                known[parent] = client.job(parent)["state"]
        bad = [p for p in parents if known[p] not in ("COMPLETED", "PENDING", "RUNNING")]
        if parents:
            found[one["id"]] = (bad or parents)[0]
    return found


_ORDERS: dict[str, Callable[[Record], Any]] = {
    "id": lambda one: one["id"],
    "state": lambda one: [*NAMES].index(dialect.state(one)),
    "time": lambda one: one["started_at"] or 0.0,
    "name": dialect.run_name,
    "gpus": lambda one: one["resources"]["gpus"],
    "nodes": lambda one: one["resources"]["gpus"],
    "priority": lambda one: one["priority"],
}


def _sort(records: list[Record], field: str) -> None:
    if field not in _ORDERS:
        sheet.warn(f"Warning: Unknown sort field '{field}', using default 'id'")
    records.sort(key=_ORDERS.get(field, _ORDERS["id"]))


# --- tables ---------------------------------------------------------------------------------------


def cell(record: Record, column: str, culprit: int | None) -> str:
    """One cell of a job's row."""
    state = dialect.state(record)
    if column == "NAME":
        alive = state == "Running" and record["pid"] is not None
        return dialect.run_name(record) + (" ○" if alive else "")
    if column == "ST":
        return sheet.state_cell(state)
    if column == "NODELIST(REASON)":
        if state == "Running":
            return ",".join(map(str, record["gpu_ids"]))
        why = sheet.reason(record, culprit)
        return "-" if why in (None, "-") else f"({why})"
    take = _CELLS.get(column)
    return "" if take is None else take(record)


_CELLS: dict[str, Callable[[Record], str]] = {
    "JOBID": lambda one: str(one["id"]),
    "TIME": sheet.elapsed,
    "TIMELIMIT": lambda one: _limit(one) or "UNLIMITED",
    "MEMORY": lambda one: sheet.size(one["resources"]["memory_bytes"]),
    "NODES": lambda one: str(one["resources"]["gpus"]),
    "USER": lambda one: one["user"],
    "PROJECT": lambda one: one["project"] or "-",
    "COMMAND": lambda one: one["labels"].get("script") or dialect.command(one) or "-",
    "REASON": lambda one: str(one["reason"] or "-"),
    "PRIORITY": lambda one: str(one["priority"]),
}


def _limit(record: Record) -> str | None:
    limit = record["time_limit_s"]
    return None if limit is None else sheet.clock(limit)


def table(records: list[Record], columns: list[str], culprits: dict[int, int]) -> str:
    """Rows below their header."""
    rows: list[list[str]] = [columns]
    rows += [[cell(one, c, culprits.get(one["id"])) for c in columns] for one in records]
    return "\n".join(sheet.lines(rows, 3)) + "\n"


def _groups(records: list[Record], columns: list[str], culprits: dict[int, int]) -> str:
    parts = []
    for state in _GROUPS:
        some = [one for one in records if dialect.state(one) == state]
        if some:
            head = f"{state} ({len(some)})\n" + "─" * 60 + "\n"
            parts.append(head + table(some, columns, culprits))
    return "\n".join(parts)


def _tree(records: list[Record], columns: list[str], culprits: dict[int, int]) -> str:
    rows: list[list[str]] = [columns]
    for branch in tree.branches(records):
        if branch.record is None:
            row = ["-"] * len(columns)
            first = f"→ see job {branch.see}"
        else:
            one = branch.record
            row = [cell(one, c, culprits.get(one["id"])) for c in columns]
            first = row[0]
        if columns[0] == "JOBID":
            row[0] = branch.prefix + first
        rows.append(row)
    return "\n".join(sheet.lines(rows, 3)) + "\n"


# --- documents ------------------------------------------------------------------------------------


def _document(records: list[Record], culprits: dict[int, int]) -> dict[str, Any]:
    now = time.time_ns()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
    return {
        "jobs": [_entry(one, culprits.get(one["id"])) for one in records],
        "total": len(records),
        "timestamp": f"{moment}.{now % 10**9:09}+00:00",
    }


def _entry(record: Record, culprit: int | None) -> dict[str, Any]:
    found = {
        "id": record["id"],
        "name": dialect.run_name(record),
        "state": dialect.state(record),
        "time": sheet.elapsed(record),
        "gpus": record["gpu_ids"],
        "user": record["user"],
        "project": record["project"],
        "submitted_at": sheet.utc(record["submitted_at"]),
        "reason": sheet.reason(record, culprit),
        "memory_mb": dialect.megabytes(record["resources"]["memory_bytes"]),
        "time_limit": _limit(record),
    }
    return {key: value for key, value in found.items() if value is not None}


def _csv(records: list[Record], culprits: dict[int, int]) -> str:
    names = ("id", "name", "state", "time", "gpus", "user", "submitted_at", "reason")
    made = [",".join(names)]
    for one in records:
        entry = _entry(one, culprits.get(one["id"]))
        gpus = "[" + ",".join(map(str, entry["gpus"])) + "]"
        values = {**entry, "gpus": f'"{gpus}"' if "," in gpus else gpus}
        made.append(",".join(str(values.get(name, "-")) for name in names))
    return "\n".join(made) + "\n"


def _yaml(document: dict[str, Any]) -> str:
    made = ["jobs:" if document["jobs"] else "jobs: []"]
    for entry in document["jobs"]:
        mark = "- "
        for key, value in entry.items():
            if key == "gpus" and value:
                made.append(f"{mark}gpus:")
                made += [f"  - {index}" for index in value]
            else:
                made.append(f"{mark}{key}: {_scalar(value)}")
            mark = "  "
    made += [f"total: {document['total']}", f"timestamp: {document['timestamp']}", "", ""]
    return "\n".join(made)


def _scalar(value: Any) -> str:
    if value == []:
        return "[]"
    text = str(value)
    plain = text.replace("-", "").replace("_", "").replace(":", "").isalnum()
    if plain and text[:1] not in ("-", ":") and not (isinstance(value, str) and text.isdigit()):
        return text
    return "'" + text.replace("'", "''") + "'"
