"""``backup``, ``restore``, ``check``, ``drain`` and ``undrain``."""

from __future__ import annotations

import argparse
import os
import sys

from gflow.api.quantity import format_size
from gflow.cli.command import EXIT_FAILED, Failure, Parser
from gflow.cli.rendering import escape, quoted
from gflow.cli.session import Session


def configure(name: str, parser: Parser) -> None:
    """Options of one of them."""
    add = parser.add_argument
    if name in ("backup", "restore"):
        add("file", metavar="FILE", help="the copy")
    if name == "restore":
        add("--state-dir", metavar="DIR", help="where jobs are remembered")
    if name == "drain":
        add("--reason", metavar="TEXT", help="shown to everyone who waits")


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Do it."""
    if name == "restore":
        return _restore(options, session)
    client = session.client
    if name == "backup":
        answer = client.backup(os.path.abspath(options.file))
        text = f"Wrote {escape(answer['path'])} ({format_size(answer['size_bytes'])})"
    elif name == "check":
        answer = client.check()
        text = "\n".join(map(escape, answer["findings"])) or "The store is sound"
    elif name == "drain":
        answer, text = client.drain(options.reason), "No more jobs are started"
    else:
        answer, text = client.undrain(), "Jobs are started again"
    if session.as_json:
        session.print_json(answer)
    else:
        print(text)
    return EXIT_FAILED if answer.get("ok") is False else 0


def _restore(options: argparse.Namespace, session: Session) -> int:
    """Let the supervisor's own program do it: it holds the locks and knows the store."""
    path = os.path.abspath(options.file)
    if not os.path.isfile(path):
        raise Failure(f"cannot restore {quoted(path)}: there is no such file")
    command = [sys.executable, "-P", "-m", "gflow.supervisor.main", "--restore", path]
    if options.state_dir is not None:
        command += ["--state-dir", os.path.abspath(options.state_dir)]
    if session.runtime_dir is not None:
        command += ["--runtime-dir", os.path.abspath(session.runtime_dir)]
    from gflow.cli import spawning

    sys.stdout.flush()
    os.execve(sys.executable, command, spawning.environment())
