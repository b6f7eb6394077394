"""``priority`` and ``simulate``: a job's place in the order, and what would be if."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gflow.api.quantity import format_duration
from gflow.cli import request, selection, submission
from gflow.cli.command import EXIT_USAGE, Failure, Parser
from gflow.cli.rendering import Column, escape, moment, print_table, quoted
from gflow.cli.session import Session

Record = dict[str, Any]

_SIMULATE = """\
examples:
  gflowctl simulate -G 2 -t 4h             when would a job of two cards start?
  gflowctl simulate -c 8 -t 1h -- ./train  options and words are those of submit
  gflowctl simulate --with specs.json      specs as the API takes them; -: stdin
"""
_NAMES = {
    "top": "put on top",
    "priority": "its priority",
    "fair_share": "its user's share used",
    "project_share": "its project's share used",
    "age": "its age",
}
_SPECS_BYTES = 32 << 20
#: Delayed jobs that are told one by one.
_SHOWN = 20


def configure(name: str, parser: Parser) -> None:
    """Options of one of them."""
    if name == "priority":
        parser.add_argument("jobs", nargs="+", metavar="JOB", help="7, 7_3, @")
        return
    parser.usage = f"{parser.prog} [options of submit] [[--] COMMAND …]"
    parser.epilog = _SIMULATE
    parser.add_argument(
        "--with", dest="specs", action="append", metavar="FILE", help="specs in JSON; - for stdin"
    )
    request.add_options(parser)
    submission.add_options(parser)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Ask and tell."""
    return _priority(options, session) if name == "priority" else _simulate(options, session)


# --- priority -----------------------------------------------------------------------------------


def _priority(options: argparse.Namespace, session: Session) -> int:
    answers = [session.client.priority(job) for job in selection.references(options.jobs)]
    if session.as_json:
        session.print_json(answers)
        return 0
    columns = (Column("POINTS", right=True), Column("FOR"))
    for number, answer in enumerate(answers):
        if number:
            print()
        position = answer.get("position")
        place = f", number {position} in the queue" if position else ""
        print(f"Job {answer['job_id']} is {answer['state']}{place}; more points come first")
        rows = [
            (f"{points:.1f}", _NAMES.get(part, part)) for part, points in answer["parts"].items()
        ]
        print_table(columns, [*rows, (f"{answer['points']:.1f}", "in all")])
    return 0


# --- simulate -----------------------------------------------------------------------------------


def _simulate(options: argparse.Namespace, session: Session) -> int:
    specs = [spec for path in options.specs or () for spec in _read(path)]
    if options.words or not specs:
        options.words = options.words or ["--", "true"]
        specs += submission.make_specs(options, session)
    answer = session.client.simulate(specs)
    if session.as_json:
        session.print_json(answer)
        return 0
    _tell(answer)
    return 0


def _read(path: str) -> list[Record]:
    """Specs of a file: an object, or a list of them."""
    shown = "standard input" if path == "-" else quoted(path)
    try:
        if path == "-":
            text = sys.stdin.read(_SPECS_BYTES)
        else:
            with open(path, encoding="utf-8") as file:
                text = file.read(_SPECS_BYTES)
        found = json.loads(text)
    except ValueError as error:
        raise Failure(f"{shown} holds no JSON: {error}") from None
    specs = found if isinstance(found, list) else [found]
    if not specs or not all(isinstance(spec, dict) for spec in specs):
        raise Failure(f"{shown} holds no specs: an object or a list of them", EXIT_USAGE)
    return specs


def _tell(answer: Record) -> None:
    starts = answer["starts"]
    if len(starts) == 1:
        print(escape(f"It would start {_span(starts[0])}"))
    else:
        columns = (Column("SPEC", right=True), Column("NAME", shrinks=True), Column("WOULD START"))
        print_table(
            columns,
            [(str(n), one["name"], _span(one)) for n, one in enumerate(starts, 1)],
        )
    if not answer["complete"]:
        print("The queue is longer than what was played: these are lower bounds")
    delayed = answer["delayed"]
    if not delayed:
        print("Nobody would be delayed")
    for one in delayed[:_SHOWN]:
        print(escape(_delay(one)))
    more = answer["delayed_count"] - len(delayed[:_SHOWN])
    if more > 0:
        print(f"and {more} more would be delayed")


def _span(start: Record) -> str:
    earliest, latest = start["earliest"], start["latest"]
    if earliest is None:
        return "at a time that cannot be told"
    if latest is None:
        return f"at {moment(earliest)} at the earliest"
    if latest - earliest < 1:
        return f"at {moment(latest)}"
    return f"between {moment(earliest)} and {moment(latest)}"


def _delay(one: Record) -> str:
    who, before = f"Job {one['id']}", moment(one["before_at"])
    if one["after_at"] is None:
        return f"{who} would be delayed from {before}, nobody can tell until when"
    by, after = format_duration(one["delay_s"]), moment(one["after_at"])
    return f"{who} would be delayed by {by}: from {before} to {after}"
