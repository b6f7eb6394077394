"""Bugs on purpose: each must be caught, or the checks are worth nothing.

A canary replaces one piece of the real code. ``CANARIES`` names them all; every entry makes the
replacements anew for a world, as (owner, attribute, replacement).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow.launching import adoption
from gflow.launching.adoption import Verdict
from gflow.launching.custody import Custody
from gflow.launching.ledger import Entries
from gflow.launching.runfile import Contents
from gflow.model.action import Action, Start
from gflow.model.event import Event, Exited, Gone, Lost
from gflow.model.state import Instant
from gflow.persistence.committer import Committer
from gflow.persistence.link import Link
from gflow.persistence.store import Store
from gflow.scheduling.scheduler import Scheduler
from gflow.supervisor.attempt import Attempts
from gflow.supervisor.launcher_port import LauncherPort
from tests.simulation.launcher import SimulatedLedger
from tests.simulation.machine import Machine
from tests.simulation.supervisor import Replacement
from tests.simulation.witness import WitnessedScheduler

Canary = list[Replacement]


def ack_before_commit() -> Canary:
    """The persister acknowledges and commits then."""

    def commit(self: Committer, store: Store) -> None:
        items = list(self._items)
        self._tell("ack", seq=self._seq, committed=True)
        store.begin()
        store.apply(items)
        store.commit()
        self._items, self._complete = [], False

    return [(Committer, "_commit", commit)]


def batch_forgotten_on_death() -> Canary:
    """What was in flight when the persister died is believed to be saved."""

    def take_back(self: Link) -> None:
        self._backlog.commit()
        self._batch.reset()
        self._in_flight = None

    return [(Link, "_take_back", take_back)]


def attempt_started_twice() -> Canary:
    """Orders to start are sent twice, and nobody minds that their attempt has begun."""
    real = LauncherPort.start

    def start(self: LauncherPort, order: Start) -> None:
        real(self, order)
        real(self, order)

    return [
        (LauncherPort, "start", start),
        (Custody, "watches", lambda *_: False),
        (Machine, "restarts_attempts", True),
    ]


def ids_above_the_floor() -> Canary:
    """A floor is believed before it is committed."""
    real = Scheduler.raise_floor

    def raise_floor(self: Scheduler, floor: int) -> None:
        real(self, floor)
        self.commit_id_floor(floor)

    return [(WitnessedScheduler, "raise_floor", raise_floor)]


def unknown_end_is_success() -> Canary:
    """An attempt that nobody saw end is taken for a success."""
    real = WitnessedScheduler.handle

    def handle(self: WitnessedScheduler, event: Event, now: Instant) -> list[Action]:
        if isinstance(event, Lost):
            exited = Exited(event.job_id, event.attempt, 0, None, now.wall_s)
            return real(self, exited, now) + real(self, Gone(event.job_id, event.attempt), now)
        return real(self, event, now)

    return [(WitnessedScheduler, "handle", handle)]


def run_file_deleted_early() -> Canary:
    """A run file goes when its attempt is over, not when that is saved."""
    real = Attempts._after_report

    def after_report(self: Attempts, report: dict[str, Any], position: int) -> None:
        real(self, report, 0)

    return [(Attempts, "_after_report", after_report)]


def lock_not_looked_at() -> Canary:
    """Adoption takes a living shim for a dead one."""
    real = adoption.judge

    def judge(contents: Contents, *, locked: bool, **facts: bool) -> Verdict:
        return real(contents, locked=False, **facts)

    return [(adoption, "judge", judge)]


def ledger_not_read() -> Canary:
    """What has no run file is believed never to have begun."""
    nothing = Entries(set(), 0.0)
    return [(SimulatedLedger, "read", lambda _: nothing)]


CANARIES: dict[str, Callable[[], Canary]] = {
    canary.__name__.replace("_", "-"): canary
    for canary in (
        ack_before_commit,
        batch_forgotten_on_death,
        attempt_started_twice,
        ids_above_the_floor,
        unknown_end_is_success,
        run_file_deleted_early,
        lock_not_looked_at,
        ledger_not_read,
    )
}
