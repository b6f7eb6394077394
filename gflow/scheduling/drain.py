"""Draining the machine: nothing is started, or only what ends before a moment."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, NamedTuple

from gflow.errors import Refused
from gflow.model.action import Action
from gflow.model.event import Drain, Undrain
from gflow.model.resources import Capacity
from gflow.model.state import Instant
from gflow.scheduling.barrier import Barrier
from gflow.scheduling.core import Core
from gflow.scheduling.pool import Pool
from gflow.scheduling.state import Item

_NOTHING = Pool(Capacity(0, 0))


class Drained(NamedTuple):
    """Why, since when and by whom the machine is being drained."""

    #: For people; None: nobody said.
    reason: str | None
    since_at: float
    uid: int
    #: What ends before may still start; None: nothing may.
    by_at: float | None = None


def drain(core: Core, event: Drain, now: Instant) -> list[Action]:
    """Begin to drain, or change how."""
    if event.by_at is not None and event.by_at <= now.wall_s:
        raise Refused(
            Refused.INVALID,
            "cannot drain: that moment has passed: name one to come, such as now+2h",
        )
    core.drain = Drained(event.reason, now.wall_s, event.uid, event.by_at)
    core.live.changes["drain", "machine"] = None
    core.pass_wanted = True
    return []


def undrain(core: Core, event: Undrain, now: Instant) -> list[Action]:
    """Start jobs again."""
    if core.drain is None:
        raise Refused(Refused.CONFLICT, "cannot undrain: the machine is not being drained")
    core.drain = None
    core.live.changes["drain", "machine"] = None
    core.pass_wanted = True
    return []


def barrier(core: Core, now: Instant) -> Barrier | None:
    """What draining keeps from starting; None: nothing."""
    if core.drain is None:
        return None
    if core.drain.by_at is None:
        return Barrier(-inf, _NOTHING, inf)
    left_s = core.drain.by_at - now.wall_s
    return Barrier(now.boot_s + left_s if left_s > 0 else -inf, _NOTHING, inf)


def keeps(core: Core, item: Item, now: Instant) -> bool:
    """Whether draining keeps this item from starting."""
    found = barrier(core, now)
    return found is not None and found.stops(now.boot_s + core.time_limit_s(item))


def record(core: Core) -> dict[str, Any] | None:
    """What is saved of it."""
    return None if core.drain is None else core.drain._asdict()


def restore(core: Core, found: Mapping[str, Any]) -> None:
    """Go on draining after a restart."""
    by_at = found.get("by_at")
    core.drain = Drained(
        found.get("reason"),
        float(found.get("since_at", 0.0)),
        int(found.get("uid", 0)),
        None if by_at is None else float(by_at),
    )
