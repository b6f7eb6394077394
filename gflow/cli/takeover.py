"""``import``: jobs, history, limits, reservations and use of the older gflow."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gflow.api.wire import Refusal
from gflow.cli import predecessor, spawning
from gflow.cli.command import Failure, Parser
from gflow.cli.rendering import escape, quoted
from gflow.cli.session import Session

if TYPE_CHECKING:
    from gflow.compat.takeover.state import State

Record = dict[str, Any]

#: Jobs in one request: each request is taken whole or not at all, and can be asked again.
_SLICE = 1_000
_EPILOG = """\
The older daemon must not run. Nothing of what is read is changed, and what was imported before is
left as it is: import again after a failure. Ids are kept. Jobs that ran when the daemon stopped and
left no result end as NODE_FAIL.
"""


def configure(name: str, parser: Parser) -> None:
    """Its options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("path", nargs="?", metavar="PATH", help="state.msgpack, state.json, or their folder")
    add("--dry-run", action="store_true", help="only say what would be taken over")
    add(
        "--running",
        choices=("refuse", "lost"),
        default="refuse",
        help="what jobs mean that still run: no import (refuse), or jobs that are lost",
    )


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Read, check everything, then send."""
    path = Path(options.path) if options.path else predecessor.usual_folder()
    file = predecessor.state_file(path.absolute())
    state = _read(file)
    running = [job for job in state.jobs if job.get("state") == "Running"]
    results = predecessor.results(file.parent, (job["id"] for job in running))
    if options.running == "refuse":
        _refuse_alive(file.parent, [job for job in running if job["id"] not in results])
    arrivals, policy = _requests(state, file, results)
    spawning.ensure(session)
    slices = [arrivals[at : at + _SLICE] for at in range(0, len(arrivals), _SLICE)]
    checked = [session.client.take_jobs(some, dry_run=True) for some in slices]
    told: Record = (
        {"taken": [], "left": []} if options.dry_run else session.client.take_policy(policy)
    )
    if not options.dry_run:
        _choose_cards(state.allowed_gpus, told, session)
        checked = [session.client.take_jobs(some) for some in slices]
    new = {job_id for answer in checked for job_id in answer["job_ids"]}
    found: Record = {
        "file": str(file),
        "version": state.version,
        "jobs": len(arrivals),
        "imported": len(new),
        "known": sum(answer["known"] for answer in checked),
        "lost": [one["id"] for one in arrivals if one["state"] == "NODE_FAIL"],
        "next_id": state.next_job_id,
        "taken": told["taken"],
        "left": told["left"],
        "configuration": _configuration(),
        "durable": all(answer.get("durable", True) for answer in [*checked, told]),
    }
    if session.as_json:
        session.print_json(found)
    else:
        _tell(found, [one for one in arrivals if one["id"] in new], options.dry_run)
    if not found["durable"]:
        session.warn("not all of it is on disk yet; gflowctl status says why")
    return 0


def _read(file: Path) -> State:
    """The state, read while no daemon writes it. Raises Failure."""
    from gflow.compat.takeover.state import Unreadable, read

    name = quoted(str(file))

    def refuse_daemon() -> None:
        pid = predecessor.daemon_pid(file.parent)
        if pid is not None:
            raise Failure(f"cannot import {name}: its daemon runs (pid {pid}); stop it first")

    refuse_daemon()
    try:
        state = read(file.read_bytes(), file.name)
    except Unreadable as error:
        raise Failure(f"cannot import {name}: {error}") from None
    except OSError as error:
        raise Failure(f"cannot import {name}: {error.strerror}") from None
    refuse_daemon()
    journal = predecessor.newer_journal(file)
    if journal is not None:
        raise Failure(
            f"cannot import {name}: its daemon wrote to its journal last; import "
            f"{quoted(str(journal))}, or the state file from another folder"
        )
    return state


def _refuse_alive(folder: Path, running: list[Record]) -> None:
    alive = [*predecessor.alive(folder, running)] if running else []
    if alive:
        named = ", ".join(f"{job_id} (pid {pid})" for job_id, pid in alive[:10])
        raise Failure(
            f"cannot import: {len(alive)} jobs still run: {named}; wait for their end, end them, "
            "or count them as lost with --running lost"
        )


def _requests(
    state: State, file: Path, results: dict[int, tuple[int, float]]
) -> tuple[list[Record], Record]:
    """Jobs in the order in which they are sent, and the rest. Raises Failure."""
    from gflow.compat.takeover import arrival, policy
    from gflow.compat.takeover.state import Unreadable

    folder = os.path.join(file.parent, "logs")
    logs = predecessor.files(folder)

    def log_of(job_id: int) -> str | None:
        name = f"{job_id}.log"
        return os.path.join(folder, name) if name in logs else None

    around = arrival.Surroundings(
        ids=frozenset(job["id"] for job in state.jobs),
        account=_Accounts().of,
        stopped_at=file.stat().st_mtime,
        results={job_id: arrival.Result(*told) for job_id, told in results.items()},
        log_of=log_of,
    )
    try:
        arrivals = [arrival.arrival(job, around) for job in state.jobs]
        return arrival.in_order(arrivals), policy.policy(state)
    except (arrival.Unusable, Unreadable) as error:
        raise Failure(f"cannot import: {error}") from None


class _Accounts:
    """User ids by name; somebody who has no account here is nobody."""

    _NOBODY = (65534, 65534)

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}

    def of(self, user: str) -> tuple[int, int]:
        """(uid, gid) of a user name."""
        import pwd

        if user not in self._known:
            try:
                entry = pwd.getpwnam(user)
                self._known[user] = (entry.pw_uid, entry.pw_gid)
            except (KeyError, ValueError, UnicodeEncodeError):
                self._known[user] = self._NOBODY
        return self._known[user]


def _choose_cards(indices: list[int] | None, told: Record, session: Session) -> None:
    """Give out the cards alone that the older daemon gave out, unless a choice was made here."""
    if indices is None:
        return
    what, why = f"cards {', '.join(map(str, indices))} alone", None
    if any(card["restricted"] for card in session.client.status()["gpus"]):
        why = "some are chosen here already"
    else:
        try:
            session.client.restrict_cards(indices)
        except Refusal as error:
            why = str(error)
    if why is None:
        told["taken"].append(what)
    else:
        told["left"].append({"what": what, "why": why})


def _configuration() -> list[str]:
    """What becomes of the keys of the older gflow.toml, which is read as it stands."""
    from gflow import config

    return config.load().notes


def _tell(found: Record, new: list[Record], dry_run: bool) -> None:
    waiting = [one for one in new if one["state"] == "PENDING"]
    held = sum(bool(one["hold"]) for one in waiting)
    verb = "would be imported" if dry_run else "imported"
    print(escape(f"{found['file']}: version {found['version']}, {found['jobs']} jobs"))
    print(
        f"{len(new)} jobs {verb}: {len(new) - len(waiting)} ended, "
        f"{len(waiting) - held} waiting, {held} held"
    )
    if found["known"]:
        print(f"{found['known']} jobs were here already and stay as they are")
    if found["lost"]:
        ids = ", ".join(map(str, found["lost"][:20])) + (", …" if len(found["lost"]) > 20 else "")
        print(f"lost, for they ran when the daemon stopped (NODE_FAIL): {ids}")
    for what in found["taken"]:
        print(escape(f"{what}: {verb}"))
    for one in found["left"]:
        print(escape(f"{one['what']}: left, {one['why']}"))
    for note in found["configuration"]:
        print(escape(note))
    print(f"new ids are {found['next_id']} and above")
