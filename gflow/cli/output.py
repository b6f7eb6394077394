"""``log`` and ``wait``."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from gflow.api.grammar import parse_references
from gflow.api.quantity import GrammarError, parse_duration
from gflow.cli import following, outcome
from gflow.cli.command import EXIT_TRY_LATER, Failure, Parser, whole, written
from gflow.cli.session import Session

_EXIT_CODES = """\
exit codes: the job's own, 128 + signal, 124 after its time limit, 137 out of memory, 1 when it was
cancelled or lost; of several jobs the highest; 75 when --timeout was over.
"""
#: How much of a log's end is searched for the lines of ``--tail``.
_TAIL_BYTES = 1 << 20


def configure(name: str, parser: Parser) -> None:
    """Options of ``log`` or ``wait``."""
    add = parser.add_argument
    if name == "wait":
        parser.epilog = _EXIT_CODES
    if name == "log":
        add("job", help="7, 7_3, @")
        add("-f", "--follow", action="store_true", help="go on until the job has ended")
        add("-e", "--error", action="store_true", help="the errors, if they go elsewhere")
        add("-n", "--tail", type=whole(0, 10**9), metavar="N", help="the last N lines only")
    else:
        add("jobs", nargs="+", help="7, 3-9, 4,6, 7_3, @")
        add("--timeout", type=written(parse_duration), metavar="TIME", help="exit 75 after that")


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Print a log, or wait."""
    return _log(options, session) if name == "log" else _wait(options, session)


def _log(options: argparse.Namespace, session: Session) -> int:
    jobs = parse_references(options.job)
    if len(jobs) != 1:
        raise GrammarError("a log is one job's: name one")
    client = session.client
    record = client.job(jobs[0])
    job_id = record["id"]
    stream = "error" if options.error else "output"
    path = following.log_path(record, stream)
    if path is None:
        stream, path = "output", following.log_path(record, "output")
    offset = (
        0 if options.tail is None else _tail_offset(options.tail, job_id, path, stream, session)
    )
    if session.as_json:
        data = client.log(job_id, stream=stream, offset=offset)
        text = data.decode(errors="replace")
        session.print_json({"id": job_id, "stream": stream, "path": path, "text": text})
        return 0
    out = sys.stdout.buffer
    if options.follow:
        following.follow(job_id, client, out, stream=stream, offset=offset)
        return 0
    fd = following.open_log(path)
    if fd is None:
        _copy_slices(job_id, stream, offset, session)
        return 0
    with open(fd, "rb") as file:
        file.seek(offset)
        while piece := file.read(1 << 18):
            following.write(out, piece)
    return 0


def _copy_slices(job_id: int, stream: str, offset: int, session: Session) -> None:
    while True:
        piece, start, size = session.client.log_slice(job_id, stream=stream, offset=offset)
        following.write(sys.stdout.buffer, piece)
        offset = start + len(piece)
        if not piece or offset >= size:
            return


def _tail_offset(lines: int, job_id: int, path: str | None, stream: str, session: Session) -> int:
    """Where the last lines begin, within the last megabyte."""
    fd = following.open_log(path)
    if fd is not None:
        with open(fd, "rb") as file:
            size = file.seek(0, 2)
            start = max(0, size - _TAIL_BYTES)
            file.seek(start)
            data = file.read()
    else:
        data = session.client.log(job_id, stream=stream, offset=-_TAIL_BYTES)
        _, start, size = session.client.log_slice(job_id, stream=stream, offset=-_TAIL_BYTES)
    position = len(data) - 1 if data.endswith(b"\n") else len(data)
    if lines == 0:
        return start + len(data)
    for _ in range(lines):
        position = data.rfind(b"\n", 0, position)
        if position < 0:
            return start
    return start + position + 1


def _wait(options: argparse.Namespace, session: Session) -> int:
    end = None if options.timeout is None else time.monotonic() + options.timeout
    records: list[dict[str, Any]] = []
    session.client.ping()  # patience is for a supervisor that goes away, not for none at all
    for job in [job for text in options.jobs for job in parse_references(text)]:
        rest = None if end is None else max(0.0, end - time.monotonic())
        try:
            record = session.client.wait(job, rest)
        except TimeoutError:
            raise Failure(f"job {job} has not ended within the time", EXIT_TRY_LATER) from None
        records.append(record)
        sentence = outcome.sentence(record)
        session.print(sentence[0].upper() + sentence[1:])
    if session.as_json:
        session.print_json(records)
    return max(outcome.exit_code(record, session.client) for record in records)
