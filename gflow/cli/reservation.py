"""``reserve`` and ``reservations``: resources kept for somebody for a time."""

from __future__ import annotations

import argparse
import time
from typing import Any

from gflow.api import moment
from gflow.api.grammar import parse_cards
from gflow.api.quantity import GrammarError, format_duration, parse_duration
from gflow.cli import rendering, timeline
from gflow.cli.command import EXIT_USAGE, Failure, Parser, whole, written
from gflow.cli.rendering import Column, print_table
from gflow.cli.session import Session

Record = dict[str, Any]

_RESERVE = """\
examples:
  gflowctl reserve --user ann -G 2 --start 16:00 --duration 3h
  gflowctl reserve --project ml --gpu-ids 0,2-3 --start tomorrow --duration 1-0
  gflowctl reserve --user ann -c 8 -s 2026-01-26T09:00 -t 8h --every 7d
"""
_RESERVATIONS = """\
examples:
  gflowctl reservations               all of them, and a picture
  gflowctl reservations get 3         everything about one
  gflowctl reservations cancel 3      give it back
  gflowctl reservations cancel 3 --once   only this time (of a recurring one)
"""
_COLUMNS = (
    Column("ID", right=True),
    Column("FOR", shrinks=True),
    Column("WHAT", shrinks=True),
    Column("START"),
    Column("END"),
    Column("EVERY", right=True),
    Column("COMMENT", shrinks=True),
)


def configure(name: str, parser: Parser) -> None:
    """Options of one of them."""
    add = parser.add_argument
    if name == "reservations":
        parser.epilog = _RESERVATIONS
        add("action", nargs="?", choices=("list", "get", "cancel"), default="list")
        add("id", nargs="*", type=whole(1, 2**53), metavar="ID", help="as the list shows them")
        add("--once", action="store_true", help="cancel: only its current or next time")
        add("--days", type=whole(1, 366), metavar="N", help="how far the picture reaches")
        return
    parser.epilog = _RESERVE
    owner = parser.add_mutually_exclusive_group(required=True)
    owner.add_argument("-u", "--user", metavar="NAME", help="for this user")
    owner.add_argument("-P", "--project", metavar="NAME", help="for this project")
    what = parser.add_argument_group("what is kept")
    what.add_argument("-c", "--cpus", type=whole(1, 65536), metavar="N", help="processors")
    what.add_argument("-G", "--gpus", type=whole(1, 1024), metavar="N", help="any graphics cards")
    what.add_argument(
        "--gpu-ids", type=written(parse_cards), metavar="CARDS", help="these cards: 0,2-3"
    )
    when = parser.add_argument_group("when")
    when.add_argument(
        "-s",
        "--start",
        required=True,
        type=written(_start),
        metavar="WHEN",
        help="now, now+2h, 16:00, 2026-01-20T12:00",
    )
    when.add_argument(
        "-t",
        "--duration",
        required=True,
        type=written(_duration),
        metavar="TIME",
        help="30 (minutes), 2h, 1-12",
    )
    when.add_argument("--every", type=written(_duration), metavar="TIME", help="again and again")
    add("--comment", metavar="TEXT", help="shown in the list")


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Do it."""
    if name == "reserve":
        return _reserve(options, session)
    actions = {"list": _list, "get": _get, "cancel": _cancel}
    return actions[options.action](options, session)


def _start(text: str) -> float:
    return moment.parse_moment(text, time.time())


def _duration(text: str) -> float:
    seconds = parse_duration(text)
    if not seconds:
        raise GrammarError("a reservation needs an end: 30 (minutes), 2h, 1-12")
    return seconds


def _reserve(options: argparse.Namespace, session: Session) -> int:
    if options.gpus and options.gpu_ids:
        raise Failure("name a number of cards or particular ones, not both", EXIT_USAGE)
    if not (options.cpus or options.gpus or options.gpu_ids):
        raise Failure("nothing is to be kept: name --cpus, --gpus or --gpu-ids", EXIT_USAGE)
    wanted = {
        "user": options.user,
        "project": options.project,
        "cpus": options.cpus,
        "gpus": options.gpus,
        "gpu_ids": options.gpu_ids,
        "every_s": options.every,
        "comment": options.comment,
    }
    given = {key: value for key, value in wanted.items() if value is not None}
    answer = session.client.reserve(options.start, options.duration, **given)
    if session.as_json:
        session.print_json(answer)
    else:
        print(f"Made reservation {answer['reservation_id']}")
    if not answer["durable"]:
        session.warn("done, but not on disk yet; gflowctl status says why")
    return 0


def _list(options: argparse.Namespace, session: Session) -> int:
    found = session.client.reservations()
    if options.id:
        found = [one for one in found if one["id"] in options.id]
    if session.as_json:
        session.print_json(found)
        return 0
    now = time.time()
    until = timeline.horizon(found, now)
    if options.days is not None:
        until = now + options.days * 86400.0
    print_table(_COLUMNS, [_row(one, now) for one in found])
    if found:
        print()
        for line in timeline.picture(found, now, until, rendering.screen_width()):
            print(line)
    return 0


def _row(found: Record, now: float) -> tuple[str, ...]:
    start, end = next(
        timeline.occurrences(found, now, float("inf")),
        (found["start_at"], found["start_at"] + found["duration_s"]),
    )
    every = found.get("every_s")
    return (
        str(found["id"]),
        timeline.holder(found),
        _what(found),
        "now" if start <= now else rendering.moment(start),
        rendering.moment(end),
        format_duration(every) if every else "-",
        str(found.get("comment") or ""),
    )


def _what(found: Record) -> str:
    parts = []
    if found.get("gpu_ids"):
        parts.append("gpu " + ",".join(map(str, found["gpu_ids"])))
    elif found.get("gpus"):
        parts.append(f"{found['gpus']} gpus")
    if found.get("cpus"):
        parts.append(f"{found['cpus']} cpus")
    return ", ".join(parts)


def _get(options: argparse.Namespace, session: Session) -> int:
    if not options.id:
        raise Failure("which reservation? gflowctl reservations get ID", EXIT_USAGE)
    found = [session.client.reservation(number) for number in options.id]
    if session.as_json:
        session.print_json(found)
        return 0
    print_table(_COLUMNS, [_row(one, time.time()) for one in found], wide=True)
    return 0


def _cancel(options: argparse.Namespace, session: Session) -> int:
    if not options.id:
        raise Failure("which reservation? gflowctl reservations cancel ID", EXIT_USAGE)
    for number in options.id:
        session.client.unreserve(number, once=options.once)
        session.print(f"Gave back reservation {number}")
    if session.as_json:
        session.print_json({"reservation_ids": options.id, "once": options.once})
    return 0
