"""``backup``, ``restore``, ``check``, ``drain`` and ``undrain``."""

from __future__ import annotations

import argparse
import os
import time

from gflow.api.moment import parse_moment
from gflow.api.quantity import format_size
from gflow.cli.command import EXIT_FAILED, Failure, Parser, written
from gflow.cli.rendering import escape, moment, quoted
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
        add(
            "--by",
            type=written(_by),
            metavar="WHEN",
            help="start what ends before: 16:00, now+2h, 2026-01-20",
        )


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Do it."""
    if name == "restore":
        return _restore(options, session)
    if name == "check":
        return _check(session)
    client = session.client
    if name == "backup":
        answer = client.backup(os.path.abspath(options.file))
        text = f"Wrote {escape(answer['path'])} ({format_size(answer['bytes'])})"
    elif name == "drain":
        answer, text = client.drain(options.reason, options.by), "No more jobs are started"
        if options.by is not None:
            text = f"Only jobs that end before {moment(options.by)} are started"
    else:
        answer, text = client.undrain(), "Jobs are started again"
    if session.as_json:
        session.print_json(answer)
    else:
        print(text)
    return 0


def _by(text: str) -> float:
    return parse_moment(text, time.time())


def _check(session: Session) -> int:
    answer = session.client.check()
    problems, quarantined = answer["problems"], answer["quarantined"]
    if session.as_json:
        session.print_json(answer)
        return EXIT_FAILED if problems else 0
    for problem in problems:
        print(escape(str(problem)))
    for row in quarantined:
        print(
            escape(f"set aside earlier: {row.get('table')} {row.get('key')}: {row.get('reason')}")
        )
    rows = f"{sum(answer['rows'].values())} rows"
    looked_at = f"{rows} and the structure of the file" if answer["structure"] else rows
    print(f"{looked_at} were looked at: {len(problems) or 'no'} problems")
    if answer["structure_refusal"]:
        print(escape(f"the structure of the file was not: {answer['structure_refusal']}"))
    return EXIT_FAILED if problems else 0


def _restore(options: argparse.Namespace, session: Session) -> int:
    """Put a backup in the store's place; no supervisor may run."""
    from gflow.errors import StoreError
    from gflow.persistence import lock, restore

    path = os.path.abspath(options.file)
    if not os.path.isfile(path):
        raise Failure(f"cannot restore {quoted(path)}: there is no such file")
    state = _state_dir(options.state_dir)
    try:
        os.makedirs(state, mode=0o700, exist_ok=True)
        lock.take_file(os.path.join(state, "supervisor.lock"))
        lock.take_folder(state, say=session.warn)
        answer = restore.restore(path, state)
    except (StoreError, lock.LockHeld) as error:
        raise Failure(str(error)) from None
    if session.as_json:
        session.print_json(answer)
        return 0
    print(f"Restored {escape(answer['path'])}: {answer['live']} live jobs")
    if answer["previous"]:
        print(f"What was there before is kept as {escape(answer['previous'])}")
    return 0


def _state_dir(named: str | None) -> str:
    """Where the supervisor keeps its state, as it chooses itself."""
    from gflow import config
    from gflow.persistence import location
    from gflow.process import identity

    settings = config.load()
    if settings["access"]["mode"] == "system":
        usual = "/var/lib/gflow"
    else:
        home = os.environ.get("XDG_STATE_HOME") or os.path.join(
            os.environ.get("HOME", "/"), ".local", "state"
        )
        usual = os.path.join(home, "gflow")
    preferred = os.path.abspath(named or os.environ.get("GFLOW_STATE_DIR") or usual)
    choice = location.choose(
        os.path.realpath(preferred),
        environment=os.environ,
        uid=os.getuid(),
        machine=identity.machine_id(),
        mounts=location.read_mounts(),
        insist=settings["persistence"]["network_filesystem"] == "insist",
    )
    return preferred if choice.reason is None else choice.path
