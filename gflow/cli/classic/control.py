"""``gctl``: cards, limits of groups, quotas, reservations."""

from __future__ import annotations

import argparse
import time
from typing import Any

from gflow.api.client import Client
from gflow.api.dialect import LIMITS
from gflow.api.quantity import GrammarError
from gflow.api.wire import Refusal
from gflow.cli.classic import card, notation, sheet, timetable
from gflow.cli.command import Failure, Parser, whole
from gflow.cli.rendering import escape

Record = dict[str, Any]

COMMANDS = {
    "set-gpus": "which cards may be given out",
    "show-gpus": "one line per card",
    "gpu-process": "foreign processes on cards: ignore, unignore, list",
    "set-limit": "how many jobs of a group may run at once",
    "reserve": "create, list, get, cancel reservations",
    "quota": "list, set, remove quotas",
}
_SCOPES = ("user", "project", "default_user", "default_project")


def run(words: list[str]) -> int:
    """The command."""
    if not words or words[0] in ("-h", "--help", "help"):
        print("usage: gctl COMMAND …\n")
        print("\n".join(f"  {one:<12} {what}" for one, what in COMMANDS.items()))
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise Failure(f"unrecognized subcommand '{name}'; see gctl --help", 2)
    if name in ("reserve", "quota", "gpu-process"):
        actions = NESTED[name]
        if not rest or rest[0] not in actions:
            raise Failure(f"usage: gctl {name} {'|'.join(actions)} …", 2)
        name, rest = f"{name} {rest[0]}", rest[1:]
    options = parser(name).parse_args(rest)
    with Client() as client:
        return _RUN[name](client, options)


def parser(name: str) -> Parser:
    """Options of one command of gctl: ``set-gpus``, ``reserve list``."""
    made = Parser(prog=f"gctl {name}")
    _OPTIONS.get(name, _no_options)(made)
    return made


def _no_options(parser: Parser) -> None:
    pass


# --- groups ---------------------------------------------------------------------------------------


def _set_limit_options(parser: Parser) -> None:
    parser.add_argument("target", metavar="JOB_OR_GROUP")
    parser.add_argument("limit", type=whole(1, 1 << 20), metavar="N")


def _set_limit(client: Client, options: argparse.Namespace) -> int:
    group = options.target
    user = None
    if group.isascii() and group.isdigit():
        try:
            record = client.job(group)
        except Refusal as error:
            if error.status != 404:
                raise
            raise Failure(f"Job {group} not found") from None
        if record["group"] is None:
            raise Failure(f"Job {group} is not part of a group")
        print(f"Found job {group} in group '{record['group']}'")
        group, user = record["group"], record["user"]
    members = [one for one in client.each_job(ended=True) if one["group"] == group]
    if not members:
        raise Failure(f"Failed to set group max_concurrency: No jobs found with group_id '{group}'")
    user = user or members[0]["user"]
    client.set_group(group, options.limit, user)
    print(
        f"Updated max_concurrency to {options.limit} for group '{group}' "
        f"({len(members)} jobs affected)"
    )
    return 0


# --- quotas ---------------------------------------------------------------------------------------


def _subject_options(parser: Parser) -> None:
    one = parser.add_mutually_exclusive_group(required=True).add_argument
    one("--user", metavar="NAME")
    one("--project", metavar="NAME")
    one("--default-user", action="store_true")
    one("--default-project", action="store_true")


def _quota_options(parser: Parser) -> None:
    _subject_options(parser)
    for name in LIMITS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=whole(0, 2**31), metavar="N")


def _subject(options: argparse.Namespace) -> tuple[str, str | None]:
    if options.user is not None:
        return "user", options.user
    if options.project is not None:
        return "project", options.project
    return ("default_user" if options.default_user else "default_project"), None


def _quota_set(client: Client, options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in LIMITS}
    limits = {name: value for name, value in given.items() if value is not None}
    if not limits:
        raise Failure("Failed to set quota: at least one limit field must be provided")
    scope, name = _subject(options)
    client.set_quota(scope, name, **{LIMITS[key]: value for key, value in limits.items()})
    print(f"Updated {scope} quota" + (f" '{name}'" if name else ""))
    for key, value in limits.items():
        print(f"  {key:<16} = {value}")
    return 0


def _quota_remove(client: Client, options: argparse.Namespace) -> int:
    scope, name = _subject(options)
    if not any(
        row["scope"] == scope and row["name"] == (name or "") and row.get("overrides")
        for row in _rows(client)
    ):
        raise Failure("Failed to remove quota: no matching quota override")
    client.clear_quota(scope, name)
    print(f"Removed {scope} quota override" + (f" '{name}'" if name else ""))
    return 0


def _rows(client: Client) -> list[Record]:
    """Subjects that have jobs, or a limit that the older gflow knows, then both defaults."""
    rows = {(row["scope"], row["name"]): row for row in client.quotas() if _has_place(row)}
    for scope in ("default_user", "default_project"):
        rows.setdefault((scope, ""), {"scope": scope, "name": "", "limits": {}, "used": None})
    return sorted(rows.values(), key=lambda row: (_SCOPES.index(row["scope"]), row["name"]))


def _has_place(row: Record) -> bool:
    used = row["used"] or {}
    return any(
        row["limits"].get(ours) is not None or used.get(ours, 0) > 0 for ours in LIMITS.values()
    )


def _quota_list(client: Client, options: argparse.Namespace) -> int:
    rows = _rows(client)
    print(f"{'SCOPE':<15} {'NAME':<16} {'JOBS':>9} {'GPUS':>9} {'QUEUED':>9}")
    for row in rows:
        cells = [_cell(row, ours) for ours in LIMITS.values()]
        shown = " ".join(f"{cell:>9}" for cell in cells)
        print(f"{row['scope']:<15} {escape(row['name'] or '*'):<16} {shown}")
    print("\nCells are used/limit; `-` means unlimited. Fallback rows show the limit only.")
    return 0


def _cell(row: Record, limit: str) -> str:
    most = row["limits"].get(limit)
    shown = "-" if most is None else f"{most:.0f}"
    return shown if row["used"] is None else f"{row['used'][limit]}/{shown}"


# --- reservations ---------------------------------------------------------------------------------


def _reserve_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--user", required=True, metavar="NAME")
    cards = parser.add_mutually_exclusive_group(required=True).add_argument
    cards("--gpus", type=whole(1, 1024), metavar="N")
    cards("--gpu-spec", type=notation.stated(notation.cards), metavar="CARDS")
    add("--start", required=True, metavar="T", help="2026-01-20 10:00, at :00 or :30")
    add("--duration", required=True, type=notation.stated(notation.span), metavar="T", help="1h30m")
    add("--timezone", metavar="TZ", help="of --start (yours)")


def _instant(text: str) -> float:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise GrammarError(f"Invalid time: {error}") from None


def _start(options: argparse.Namespace) -> float:
    from datetime import datetime
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        start = datetime.fromisoformat(options.start)
        if start.tzinfo is None and options.timezone:
            start = start.replace(tzinfo=ZoneInfo(options.timezone))
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise Failure(f"Invalid start time: {error}") from None
    if start.minute % 30 or start.second:
        raise Failure("Invalid start time: it must be at :00 or :30")
    return start.timestamp()


def _reserve(client: Client, options: argparse.Namespace) -> int:
    made = client.reserve(
        user=options.user,
        start_at=_start(options),
        duration_s=options.duration,
        gpus=options.gpus or 0,
        gpu_ids=options.gpu_spec or [],
    )
    print(f"Reservation created successfully.\n  ReservationID={made['reservation_id']}")
    return 0


_RESERVATION_STATES = ("pending", "active", "completed", "cancelled")


def _reserve_list_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--user", metavar="NAME")
    add("--status", metavar="STATUS", help="pending or active")
    add("--active", action="store_true")
    add("--timeline", action="store_true", help="as bars below an axis")
    window = parser.add_mutually_exclusive_group().add_argument
    window("--range", type=notation.stated(notation.window), metavar="R", help="48h, -24h:+24h")
    window("--from", dest="since", type=notation.stated(_instant), metavar="T")
    add("--to", dest="until", type=notation.stated(_instant), metavar="T", help="with --from")


def _reserve_list(client: Client, options: argparse.Namespace) -> int:
    timed = options.range or options.since is not None or options.until is not None
    if (timed and not options.timeline) or (options.since is None) != (options.until is None):
        raise Failure("--range, and --from with --to, belong to --timeline", 2)
    wanted = "active" if options.active else (options.status or "").lower()
    if wanted and wanted not in _RESERVATION_STATES:
        raise Failure(f"Failed to list reservations: Invalid status: {options.status}")
    found = [
        one
        for one in client.reservations()
        if options.user in (None, one["user"] or one["project"])
        and wanted in ("", _status(one).lower())
    ]
    if not found:
        print("No reservations found.")
    elif options.timeline:
        now = time.time()
        behind_s, ahead_s = options.range or (timetable.AROUND_S, timetable.AROUND_S)
        since, until = options.since, options.until
        if since is None:
            since, until = now - behind_s, now + ahead_s
        if since >= until:
            raise Failure("the time range of the timeline is empty")
        print(timetable.render(found, since, until, now))
    else:
        rows = [["ID", "USER", "GPUS", "START", "END", "STATUS"], *map(_row, found)]
        print("\n".join(sheet.lines(rows, 3)))
    return 0


def _row(one: Record) -> list[str]:
    end = one["start_at"] + one["duration_s"]
    moments = [_moment(one["start_at"]), _moment(end)]
    return [str(one["id"]), one["user"] or one["project"], _cards(one), *moments, _status(one)]


def _number_options(parser: Parser) -> None:
    parser.add_argument("number", type=whole(0, 2**63 - 1), metavar="ID")


def _reserve_get(client: Client, options: argparse.Namespace) -> int:
    for one in client.reservations():
        if one["id"] == options.number:
            break
    else:
        print(f"Reservation {options.number} not found.")
        return 0
    print("Reservation Details:")
    print(f"  ID={one['id']}\n  User={escape(one['user'] or one['project'])}")
    print(f"  GPUIndices={_cards(one)}" if one["gpu_ids"] else f"  GPUCount={one['gpus']}")
    print(f"  StartTime={_moment(one['start_at'])} UTC")
    print(f"  EndTime={_moment(one['start_at'] + one['duration_s'])} UTC")
    hours, minutes = divmod(int(one["duration_s"] // 60), 60)
    words = [f"{hours}h"] * bool(hours) + [f"{minutes}m"] * bool(minutes or not hours)
    print(f"  Duration={' '.join(words)}\n  Status={_status(one)}")
    print(f"  CreatedAt={_moment(one['created_at'])} UTC")
    return 0


def _reserve_cancel(client: Client, options: argparse.Namespace) -> int:
    try:
        client.unreserve(options.number)
    except Refusal as error:
        raise Failure(f"Failed to cancel reservation: {error}") from None
    print(f"Reservation {options.number} cancelled successfully.")
    return 0


def _status(one: Record) -> str:
    return "Active" if one["start_at"] <= time.time() else "Pending"


def _cards(one: Record) -> str:
    return ",".join(map(str, one["gpu_ids"])) or str(one["gpus"])


def _moment(epoch_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(epoch_s))


NESTED = {
    "reserve": ("create", "list", "get", "cancel"),
    "quota": ("list", "set", "remove"),
    "gpu-process": ("ignore", "unignore", "list"),
}
_OPTIONS = {
    "set-gpus": card.set_options,
    "gpu-process ignore": card.process_options,
    "gpu-process unignore": card.process_options,
    "set-limit": _set_limit_options,
    "reserve create": _reserve_options,
    "reserve list": _reserve_list_options,
    "reserve get": _number_options,
    "reserve cancel": _number_options,
    "quota set": _quota_options,
    "quota remove": _subject_options,
}
_RUN = {
    "set-gpus": card.restrict,
    "show-gpus": card.show,
    "gpu-process ignore": card.ignore,
    "gpu-process unignore": card.unignore,
    "gpu-process list": card.show_ignored,
    "set-limit": _set_limit,
    "reserve create": _reserve,
    "reserve list": _reserve_list,
    "reserve get": _reserve_get,
    "reserve cancel": _reserve_cancel,
    "quota list": _quota_list,
    "quota set": _quota_set,
    "quota remove": _quota_remove,
}
