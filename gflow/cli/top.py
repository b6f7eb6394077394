"""``top``: the live view."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from gflow.cli.command import EXIT_USAGE, Failure, Parser
from gflow.cli.session import Session


def configure(name: str, parser: Parser) -> None:
    """Options."""
    parser.add_argument("--me", action="store_true", help="begin with my jobs only")


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Show it until ``q``; with ``--json`` once."""
    if session.as_json:
        return _once(options, session)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure("top needs a terminal; gflowctl queue does not", EXIT_USAGE)
    session.client.ping()
    try:
        import textual  # noqa: F401
    except ImportError:
        raise Failure("top needs textual: pip install 'gflow-scheduler[top]'") from None
    from gflow.cli.board import Board

    Board(session.runtime_dir, user=str(os.getuid()), mine=options.me).run()
    return 0


def _once(options: argparse.Namespace, session: Session) -> int:
    """What the view would begin with."""
    mine: dict[str, Any] = {"users": [str(os.getuid())]} if options.me else {}
    status, jobs = session.client.status(), session.client.jobs(**mine)
    session.print_json({"status": status, "jobs": jobs})
    return 0
