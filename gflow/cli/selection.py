"""Which jobs are meant: ids on the line, or filters."""

from __future__ import annotations

import argparse
import os
from typing import Any

from gflow.api.grammar import parse_references
from gflow.cli.command import EXIT_USAGE, Failure, Parser
from gflow.cli.rendering import STATES, quoted

_SHORT_STATES = {short: name for name, (short, _) in STATES.items()}


def add_filters(parser: Parser, *, me: bool = True) -> None:
    """-u, -t, -J, -P: lists with commas."""
    add = parser.add_argument
    add("-u", "--user", metavar="NAMES", help="of these users")
    if me:
        add("--me", action="store_true", help="mine only")
    add("-t", "--state", metavar="STATES", help="in these states: PENDING,RUNNING or PD,R; all")
    add("-J", "--name", action="append", metavar="NAME", help="called so")
    add("-P", "--project", metavar="NAMES", help="of these projects")


def filters(options: argparse.Namespace) -> dict[str, Any]:
    """Filters of the client that the options say."""
    asked: dict[str, Any] = {}
    if options.user:
        asked["users"] = options.user.split(",")
    if getattr(options, "me", False):
        asked["users"] = [str(os.getuid())]
    if options.state:
        asked["states"] = states(options.state)
    if options.name:
        asked["names"] = options.name
    if options.project:
        asked["projects"] = options.project.split(",")
    return asked


def states(text: str) -> list[str]:
    """State names of a list, in any case, short forms too; "all" is every state."""
    if text.lower() == "all":
        return [*STATES]
    found = []
    for word in text.upper().split(","):
        name = _SHORT_STATES.get(word, word)
        if name not in STATES:
            raise Failure(f"there is no state {quoted(word)}: {', '.join(STATES)}", EXIT_USAGE)
        found.append(name)
    return found


def references(words: list[str]) -> list[str]:
    """Every job that the words name, one by one."""
    return [job for word in words for job in parse_references(word)]
