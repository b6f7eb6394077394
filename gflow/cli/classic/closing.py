"""``gjob close-sessions``: close tmux sessions that show jobs."""

from __future__ import annotations

import argparse

from gflow.api import dialect
from gflow.api.client import Client
from gflow.api.wire import Refusal
from gflow.cli.classic import notation, sheet, viewing
from gflow.cli.command import Parser, written


def add_options(parser: Parser) -> None:
    """Which sessions."""
    add = parser.add_argument
    add("-j", "--jobs", type=notation.stated(notation.ids), metavar="JOBS", help="of these jobs")
    add(
        "-s",
        "--state",
        type=written(dialect.state_names),
        metavar="LIST",
        help="in these states",
    )
    add("-p", "--pattern", metavar="TEXT", help="whose names contain this")
    add("-a", "--all", action="store_true", help="all but those of jobs that run")


def run(client: Client, options: argparse.Namespace) -> int:
    """Close sessions and say how many; the job itself is never touched."""

    def tell(text: str) -> None:
        sheet.warn(f"gjob close-sessions: {text}")

    if not options.all and options.jobs is options.state is options.pattern is None:
        tell("no filters specified (see gjob close-sessions --help)")
        return 0
    found = viewing.sessions()
    if not found:
        tell("no sessions to close")
        return 0
    chosen = [one for one in found if _may_close(one, client, options)]
    if not chosen:
        tell("no matching sessions")
        return 0
    tell(f"closing {len(chosen)} session(s)")
    closed, gone, failed = viewing.close(chosen)
    tell(f"Closed={closed} AlreadyClosed={gone} Failed={failed}")
    return 0


def _may_close(session: viewing.Session, client: Client, options: argparse.Namespace) -> bool:
    try:
        found = dialect.state(client.job(session.job_id))
    except Refusal as error:
        if error.status != 404:
            raise
        return bool(options.all)  # of a job that is long forgotten
    if options.all:
        return found != "Running"
    states = options.state or dialect.state_names("Finished,Failed,Cancelled,Timeout")
    return (
        found in states
        and (options.jobs is None or session.job_id in options.jobs)
        and (options.pattern is None or options.pattern in session.name)
    )
