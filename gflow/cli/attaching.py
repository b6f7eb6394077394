"""``attach``: join the terminal of a job; of a job without one, follow the log."""

from __future__ import annotations

import argparse
import math
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gflow.api.client import TERMINAL, Client
from gflow.api.grammar import parse_references
from gflow.api.quantity import GrammarError
from gflow.api.wire import Broken, Unreachable
from gflow.cli import following, outcome
from gflow.cli.command import EXIT_USAGE, Failure, Parser, written
from gflow.cli.rendering import escape
from gflow.cli.session import Session

if TYPE_CHECKING:
    from gflow.launching.visit import Outcome

_EPILOG = """\
Keys go to the job as they are, Ctrl-C included. The detach key leaves it running: exit code 0.
Otherwise the exit code is the job's own, as of gflowctl wait. A job that waits is waited for; one
without a terminal (submit --pty) has its log followed.
"""
#: Ctrl-\\, as in dtach(1).
DETACH_KEY = b"\x1c"
#: How often a job is looked at: first and at last.
_LOOK_S = (0.05, 0.5)
#: How long the terminal of a running job is waited for.
_PATIENCE_S = 5.0


def configure(name: str, parser: Parser) -> None:
    """Options of ``attach``."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("job", help="7, 7_3, @")
    add("-r", "--read-only", action="store_true", help="look, and send nothing")
    add(
        "--detach-key",
        type=written(parse_key),
        default=DETACH_KEY,
        metavar="KEY",
        help="^A to ^Z, ^\\ (the default), ^], ^^ or ^_",
    )


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Stay with one job."""
    jobs = parse_references(options.job)
    if len(jobs) != 1:
        raise GrammarError("a terminal is one job's: name one")
    if session.as_json:
        raise Failure("attach shows a terminal: there is no JSON of it", EXIT_USAGE)
    record = session.client.job(jobs[0])
    following.log_path(record, "output")  # one job or task, no whole array
    return stay(record, session.client, read_only=options.read_only, detach_key=options.detach_key)


def parse_key(text: str) -> bytes:
    """``^B`` as the byte that Ctrl-B sends. Raises GrammarError."""
    if len(text) == 2 and text[0] == "^" and "A" <= text[1].upper() <= "_":
        return bytes([ord(text[1].upper()) & 0x1F])
    raise GrammarError(f"{text!r} is no control key: write ^B for Ctrl-B")


def key_name(key: bytes) -> str:
    """``Ctrl-B``."""
    return f"Ctrl-{chr(key[0] | 0x40)}"


def stay(
    record: dict[str, Any],
    client: Client,
    *,
    read_only: bool = False,
    detach_key: bytes = DETACH_KEY,
) -> int:
    """Stay with a job until it has ended, or until detached; the exit code."""
    if not record["pty"]:
        return _code(following.follow(record["id"], client, sys.stdout.buffer), client)
    visitor = _Visitor(record, client, read_only, detach_key)
    try:
        return visitor.run()
    finally:
        visitor.close()


class _Visitor:
    """With one job that has a terminal, through all of its attempts."""

    def __init__(
        self, record: dict[str, Any], client: Client, read_only: bool, detach_key: bytes
    ) -> None:
        self._record = record
        self._client = client
        self._read_only = read_only
        self._detach_key = detach_key
        self._watch = client.end_watch(record["id"])
        #: The attempt that was visited last, and the one whose screen was seen last.
        self._visited = self._seen = 0

    def close(self) -> None:
        self._watch.close()

    def run(self) -> int:
        """The exit code."""
        if self._record["state"] == "PENDING":
            self._say_why()
        while True:
            self._look_until(lambda: self._record["state"] != "PENDING")
            if self._ended:
                break
            connection = self._connect()
            if connection is None:
                break  # or else its shim was killed, and the terminal with it
            visited = self._visit(connection)
            if visited.kind == "detached":
                _tell(f"left job {self._name}; it goes on")
                return 0
            if visited.kind == "refused":
                raise Failure(str(visited.facts.get("message", "cannot attach: refused")))
            try:
                self._look_until(self._attempt_is_over)
            except (Unreachable, Broken):
                if visited.kind == "end":
                    return _code_of(visited.facts)
                raise
        if (
            not self._ended or self._record["attempt"] != self._seen
        ):  # too short for us: its log has what it said
            return self._follow()
        return _code(self._record, self._client)

    @property
    def _name(self) -> str:
        return outcome.job_name(self._record)

    @property
    def _ended(self) -> bool:
        return self._record["state"] in TERMINAL

    def _attempt_is_over(self) -> bool:
        return self._record["state"] == "PENDING" or bool(self._record["attempt"] != self._visited)

    def _look_until(self, come: Callable[[], bool], patience_s: float = math.inf) -> None:
        """Look at the job until that has come true, it has ended, or patience is over."""
        pause_s = _LOOK_S[0]
        end_s = time.monotonic() + patience_s
        while not (self._ended or come() or time.monotonic() > end_s):
            ended = self._watch.poll(pause_s)
            self._record = ended or self._client.job(self._record["id"])
            pause_s = min(_LOOK_S[1], pause_s * 1.2)

    def _connect(self) -> socket.socket | None:
        """Into the terminal, which may not be there yet; None: it does not come."""
        from gflow.launching import visit

        found: list[socket.socket] = []

        def come() -> bool:
            path = self._record["terminal_path"]
            try:
                connection = None if path is None else visit.connect(path)
            except PermissionError:
                owner = self._record["user"]
                raise Failure(f"cannot attach to job {self._name}: it is {owner}'s") from None
            found.extend([connection] if connection else [])
            return connection is not None

        self._look_until(come, _PATIENCE_S)
        return found[0] if found else None

    def _visit(self, connection: socket.socket) -> Outcome:
        from gflow.launching.visit import Visit

        attempt = self._visited = self._record["attempt"]
        if sys.stdin and sys.stdin.isatty():
            looking = ", looking only" if self._read_only else ""
            key = key_name(self._detach_key)
            _tell(f"at the terminal of job {self._name}{looking}; {key} leaves it")
        visit = Visit(connection, read_only=self._read_only, detach_key=self._detach_key)
        ended = visit.run()
        if visit.is_welcome:
            self._seen = attempt
        return ended

    def _follow(self) -> int:
        job_id = self._record["id"]
        return _code(following.follow(job_id, self._client, sys.stdout.buffer), self._client)

    def _say_why(self) -> None:
        if sys.stderr and sys.stderr.isatty():
            why = f": {escape(str(self._record['reason']))}" if self._record.get("reason") else ""
            _tell(f"job {self._name} waits{why}")


def _code(record: dict[str, Any], client: Client) -> int:
    if record["state"] != "COMPLETED":
        _tell(outcome.sentence(record))
    return outcome.exit_code(record, client)


def _code_of(facts: dict[str, Any]) -> int:
    """From the terminal itself, when no supervisor is there to say more."""
    if facts.get("signal"):
        return 128 + int(facts["signal"])
    return int(facts.get("exit_code") or 0)


def _tell(text: str) -> None:
    name = os.path.basename(sys.argv[0])
    program = name if name in ("gjob", "gflow") else "gflowctl"
    print(f"{program}: {text}", file=sys.stderr, flush=True)
