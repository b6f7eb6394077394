"""``quota`` and ``group``: who may have how much at once."""

from __future__ import annotations

import argparse
from typing import Any

from gflow.api.grammar import parse_group
from gflow.api.quantity import GrammarError, quoted
from gflow.cli.command import EXIT_USAGE, Failure, Parser, written
from gflow.cli.rendering import Column, escape, print_table
from gflow.cli.session import Session

Record = dict[str, Any]

#: Option → limit.
_LIMITS = {
    "running_jobs": "running jobs",
    "running_cpus": "cpus of running jobs",
    "running_gpus": "gpus of running jobs",
    "pending_jobs": "jobs that wait",
    "gpu_hours_per_week": "gpu-hours from Monday to Monday",
}
_EPILOG = """\
examples:
  gflowctl quota
      all limits, and what is used of them
  gflowctl quota set --user ann --running-gpus 2
      ann's
  gflowctl quota set --default-user --pending-jobs 500
      of users who have none of their own
  gflowctl quota set --project ml --running-jobs none
      not limited any more
  gflowctl quota clear --user ann
      back to the defaults
"""
_GROUP_EPILOG = """\
examples:
  gflowctl group                 groups with a limit or jobs
  gflowctl group set train%4     at most 4 of the group train run at once
  gflowctl group clear train     any number
"""
#: Clears one limit.
_NONE = object()


def configure(name: str, parser: Parser) -> None:
    """Options of one of them."""
    add = parser.add_argument
    add("action", nargs="?", choices=("list", "set", "clear"), default="list")
    if name == "group":
        parser.epilog = _GROUP_EPILOG
        add("group", nargs="?", metavar="NAME[%MAX]", help="the group")
        add("-u", "--user", metavar="NAME", help="whose group (mine; others': admins)")
        return
    parser.epilog = _EPILOG
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("-u", "--user", metavar="NAME", help="of this user")
    subject.add_argument("-P", "--project", metavar="NAME", help="of this project")
    subject.add_argument("--default-user", action="store_true", help="of other users")
    subject.add_argument("--default-project", action="store_true", help="of other projects")
    for limit, what in _LIMITS.items():
        add(f"--{limit.replace('_', '-')}", type=written(_limit), metavar="N|none", help=what)


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """List or change."""
    if name == "group":
        return _group(options, session)
    limits = {key: getattr(options, key) for key in _LIMITS if getattr(options, key) is not None}
    if options.action == "list":
        if limits:
            raise Failure("limits are changed with: gflowctl quota set", EXIT_USAGE)
        return _list(options, session)
    scope, subject = _subject(options)
    if options.action == "clear":
        if limits:
            raise Failure(
                "clear forgets all limits; one alone: gflowctl quota set … none", EXIT_USAGE
            )
        answer = session.client.clear_quota(scope, subject)
    else:
        if not limits:
            known = ", ".join("--" + limit.replace("_", "-") for limit in _LIMITS)
            raise Failure(f"nothing is to be limited: name one of {known}", EXIT_USAGE)
        given = {key: None if value is _NONE else value for key, value in limits.items()}
        answer = session.client.set_quota(scope, subject, **given)
    return _done(answer, "The quota is changed", session)


def _done(answer: Record, text: str, session: Session) -> int:
    if session.as_json:
        session.print_json(answer)
    else:
        print(text)
    if not answer["durable"]:
        session.warn("done, but not on disk yet; gflowctl status says why")
    return 0


def _limit(text: str) -> Any:
    if text.lower() in ("none", "unlimited"):
        return _NONE
    try:
        number = float(text) if text.isascii() else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1e9:
        raise GrammarError(f"the limit {quoted(text)} is no number from 0 on, nor none")
    return int(number) if number.is_integer() else number


def _subject(options: argparse.Namespace) -> tuple[str, str | None]:
    for scope in ("user", "project"):
        if getattr(options, scope) is not None:
            return scope, getattr(options, scope)
        if getattr(options, f"default_{scope}"):
            return f"default_{scope}", None
    raise Failure(
        "whose quota? --user NAME, --project NAME, --default-user or --default-project", EXIT_USAGE
    )


def _list(options: argparse.Namespace, session: Session) -> int:
    rows = session.client.quotas()
    if options.user is not None or options.project is not None:
        scope, subject = _subject(options)
        rows = [row for row in rows if (row["scope"], row["name"]) == (scope, subject)]
    if session.as_json:
        session.print_json(rows)
        return 0
    columns = (
        Column("WHO", shrinks=True),
        Column("RUNNING", right=True),
        Column("CPUS", right=True),
        Column("GPUS", right=True),
        Column("PENDING", right=True),
        Column("GPU-H/WEEK", right=True),
    )
    print_table(columns, [(_who(row), *(_cell(row, limit) for limit in _LIMITS)) for row in rows])
    return 0


def _who(row: Record) -> str:
    if row["scope"].startswith("default_"):
        return f"other {row['scope'].removeprefix('default_')}s"
    return str(row["name"]) if row["scope"] == "user" else f"project {row['name']}"


def _cell(row: Record, limit: str) -> str:
    """``used/limit``; ``-`` for no limit."""
    most = row["limits"].get(limit)
    shown = "-" if most is None else f"{most:g}"
    return shown if row["used"] is None else f"{_short(row['used'][limit])}/{shown}"


def _short(number: float) -> str:
    return f"{number:.1f}" if number % 1 else f"{number:.0f}"


# --- groups -------------------------------------------------------------------------------------


def _group(options: argparse.Namespace, session: Session) -> int:
    if options.action == "list":
        return _list_groups(options, session)
    if options.group is None:
        raise Failure(f"which group? gflowctl group {options.action} NAME", EXIT_USAGE)
    name, limit = parse_group(options.group)
    if (limit is None) != (options.action == "clear"):
        form = "clear NAME" if options.action == "clear" else "set NAME%MAX"
        raise Failure(f"the group is not understood: gflowctl group {form}", EXIT_USAGE)
    answer = session.client.set_group(name, limit, options.user)
    many = "any number" if limit is None else f"at most {limit}"
    return _done(answer, f"Of the group {escape(name)} {many} may run at once", session)


def _list_groups(options: argparse.Namespace, session: Session) -> int:
    rows = [
        row
        for row in session.client.groups()
        if options.user in (None, row["user"]) and options.group in (None, row["name"])
    ]
    if session.as_json:
        session.print_json(rows)
        return 0
    columns = (
        Column("GROUP", shrinks=True),
        Column("USER", shrinks=True),
        Column("RUNNING", right=True),
        Column("MAX", right=True),
        Column("PENDING", right=True),
    )
    print_table(columns, map(_group_row, rows))
    return 0


def _group_row(row: Record) -> tuple[str, ...]:
    most = "-" if row["max_running"] is None else str(row["max_running"])
    return row["name"], row["user"], str(row["running"]), most, str(row["pending"])
