"""``gjob``: look at a job, hold, release, change it, run it again."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from typing import Any

from gflow.api import dialect
from gflow.api.client import Client
from gflow.api.grammar import parse_reference
from gflow.api.quantity import GrammarError
from gflow.api.wire import Refusal
from gflow.cli import attaching
from gflow.cli.classic import closing, notation, redo, revision, sheet, show, viewing
from gflow.cli.command import Failure, Parser, whole

_ALIASES = {"a": "attach", "l": "log", "h": "hold", "r": "release", "u": "update", "s": "show"}
COMMANDS = {
    "attach": "join the terminal of a job, or follow its log",
    "log": "print a job's output",
    "hold": "keep jobs from starting",
    "release": "undo hold",
    "update": "change jobs that wait",
    "show": "everything about jobs",
    "redo": "submit a finished job again",
    "close-sessions": "close tmux sessions of jobs that have ended",
}


def run(words: list[str]) -> int:
    """The command."""
    while words and words[0] in ("-v", "-q", "--verbose", "--quiet", "-vv", "-vvv"):
        words = words[1:]
    name = _ALIASES.get(words[0], words[0]) if words else "--help"
    name = "close-sessions" if name == "close" else name
    if name in ("--help", "-h", "help"):
        print("usage: gjob COMMAND …\n")
        print("\n".join(f"  {one:<15} {what}" for one, what in COMMANDS.items()))
        return 0
    if name not in COMMANDS:
        raise Failure(f"unrecognized subcommand '{name}'; see gjob --help", 2)
    options = parser(name).parse_args(words[1:])
    with Client() as client:
        return _RUN[name](client, options)


def parser(name: str) -> Parser:
    """Options of one command of gjob."""
    made = Parser(prog=f"gjob {name}", description=COMMANDS[name].capitalize() + ".")
    if name != "close-sessions":
        one = name in ("attach", "log", "redo")
        made.add_argument("job", metavar="JOB" if one else "JOBS", help="7, 3-9, @")
    _OPTIONS[name](made)
    return made


def single(client: Client, word: str) -> int:
    """Id of a job that is written as a number, ``@`` or ``@~1``."""
    parse_reference(word)
    try:
        return int(client.job(word)["id"])
    except Refusal as error:
        if error.status == 404:
            raise Failure(f"Job {word} not found.") from None
        raise


def several(client: Client, text: str) -> list[int]:
    """Ids of a list; ``@`` stands for itself alone."""
    return [single(client, text)] if text.startswith("@") else notation.ids(text)


# --- looking --------------------------------------------------------------------------------------


def _log_options(parser: Parser) -> None:
    few = parser.add_mutually_exclusive_group().add_argument
    few("-f", "--first", type=whole(1, 2**31), metavar="N", help="the first lines")
    few("-l", "--last", type=whole(1, 2**31), metavar="N", help="the last lines")


def _log(client: Client, options: argparse.Namespace) -> int:
    parse_reference(options.job)
    try:
        data = client.log(options.job)
    except Refusal as error:
        if error.status != 404:
            raise
        sheet.warn(f"Log for job {options.job} is not available.")
        return 0
    if not data and not client.job(options.job)["attempt"]:
        sheet.warn(f"Log for job {options.job} is not available.")
        return 0
    if options.first or options.last:
        lines = data.splitlines(keepends=True)
        lines = lines[: options.first] if options.first else lines[-options.last :]
        data = b"".join(lines)
    sys.stdout.buffer.write(data)
    return 0


def _attach_options(parser: Parser) -> None:
    add = parser.add_argument
    add("-r", "--read-only", action="store_true", help="look, and send nothing")
    add("--tmux", action="store_true", help="in a tmux session, which stays after the job's end")


def _attach(client: Client, options: argparse.Namespace) -> int:
    record = client.job(single(client, options.job))
    if options.tmux:
        return viewing.show(record, client, read_only=options.read_only)
    return attaching.stay(record, client, read_only=options.read_only)


def _show(client: Client, options: argparse.Namespace) -> int:
    code = 0
    for at, job_id in enumerate(several(client, options.job)):
        if at:
            print("\n" + "=" * 80 + "\n")
        try:
            print(show.details(client.job(job_id)), end="")
        except Refusal as error:
            if error.status != 404:
                raise
            sheet.warn(f"Error: Job {job_id} not found")
            code = 1
    return code


# --- changing -------------------------------------------------------------------------------------


def _hold(client: Client, options: argparse.Namespace) -> int:
    code = 0
    for job_id in several(client, options.job):
        problem = _wrong_state(client, job_id, "held", "Queued")
        if problem is None:
            problem = _refusal(client.hold(job_id))
        if problem is None:
            print(f"Job {job_id} put on hold.")
        else:
            sheet.warn(f"Error: {problem}")
            code = 1
    return code


def _release_options(parser: Parser) -> None:
    parser.add_argument(
        "--at", type=notation.stated(notation.begin), metavar="T", help="not before: now+2h, 16:00"
    )


def _release(client: Client, options: argparse.Namespace) -> int:
    code = 0
    for job_id in several(client, options.job):
        problem = _wrong_state(client, job_id, "released", "Hold")
        if problem is None and options.at is not None:
            client.update(job_id, {"begin_at": options.at})
        if problem is None:
            problem = _refusal(client.release(job_id))
        if problem is not None:
            sheet.warn(f"Error: {problem}")
            code = 1
            continue
        later = ""
        if options.at is not None:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(options.at))
            later = f" (scheduled to start at {at} UTC)"
        print(f"Job {job_id} released back to queue{later}.")
    return code


def _wrong_state(client: Client, job_id: int, done: str, needed: str) -> str | None:
    try:
        found = dialect.state(client.job(job_id))
    except Refusal as error:
        if error.status != 404:
            raise
        return f"Job {job_id} not found"
    if found == needed:
        return None
    return (
        f"Job {job_id} is in state '{found}' and cannot be {done}. "
        f"Only {needed} jobs can be {done}."
    )


def _refusal(answer: dict[str, Any]) -> str | None:
    return next((str(one["message"]) for one in answer["refused"]), None)


def _update(client: Client, options: argparse.Namespace) -> int:
    ids = several(client, options.job)
    code = 0
    for job_id in ids:
        try:
            record = client.job(job_id)
            found = dialect.state(record)
            if found not in ("Queued", "Hold"):
                raise Failure(
                    f"Job {job_id} is in state '{found}' and cannot be updated. "
                    "Only queued or held jobs can be updated."
                )
            script = partial(client.script, job_id)
            changes, names = revision.changes(options, record, os.getcwd(), script)
            client.update(job_id, changes)
        except (Refusal, Failure, GrammarError) as error:
            if isinstance(error, Refusal) and error.status not in (400, 403, 404, 409):
                raise
            if isinstance(error, revision.NothingToDo):
                raise
            text = f"Job {job_id} not found" if getattr(error, "status", 0) == 404 else str(error)
            sheet.warn(f"Error updating job {job_id}: Failed to update job: {text}")
            code = 1
            continue
        print(f"Job {job_id} updated successfully.")
        print(f"  UpdatedFields={', '.join(names)}")
    return code


def _redo(client: Client, options: argparse.Namespace) -> int:
    return redo.run(client, single(client, options.job), options)


def _no_options(parser: Parser) -> None:
    pass


_OPTIONS = {
    "attach": _attach_options,
    "log": _log_options,
    "hold": _no_options,
    "release": _release_options,
    "update": revision.add_options,
    "show": _no_options,
    "redo": redo.add_options,
    "close-sessions": closing.add_options,
}
_RUN = {
    "attach": _attach,
    "log": _log,
    "hold": _hold,
    "release": _release,
    "update": _update,
    "show": _show,
    "redo": _redo,
    "close-sessions": closing.run,
}
