"""What the handlers work on: the live state and everything derived from it, in one place."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gflow.model.job import Array, Job
from gflow.model.resources import Capacity
from gflow.model.state import Instant
from gflow.scheduling.account import Account, Accounts
from gflow.scheduling.class_queue import ClassQueue
from gflow.scheduling.cpuset import CpuSet
from gflow.scheduling.dependency import Dependencies
from gflow.scheduling.pool import Pool
from gflow.scheduling.settings import Settings
from gflow.scheduling.state import Item, Live
from gflow.scheduling.timer import Timers

if TYPE_CHECKING:
    from gflow.scheduling.calendar import Reservation
    from gflow.scheduling.drain import Drained


class Core:
    """State, indexes and allocation. Handlers change it only through the lifecycle's steps."""

    __slots__ = (
        "accounts",
        "again",
        "boot_id",
        "calendar",
        "calendar_due_at",
        "capacity",
        "cpuset",
        "dependencies",
        "drain",
        "ends",
        "id_floor",
        "id_floor_committed",
        "idle",
        "last_reservation_id",
        "live",
        "next_id",
        "now",
        "pass_due_at",
        "pass_wanted",
        "passed_at",
        "pool",
        "queue",
        "ready",
        "reserved_id",
        "reserved_moments",
        "settings",
        "timers",
    )

    def __init__(self, settings: Settings, capacity: Capacity, boot_id: str) -> None:
        self.settings = settings
        self.boot_id = boot_id
        self.live = Live()
        self.accounts = Accounts({(s, n): dict(limits) for s, n, limits in settings.quotas})
        self.queue = ClassQueue(settings)
        self.timers = Timers()
        self.dependencies = Dependencies()
        self.set_capacity(capacity)
        self.pool = Pool(capacity)
        self.cpuset = CpuSet(capacity.cpus)
        #: (expected end on the boot clock, id) of active jobs, ascending.
        self.ends: list[tuple[float, int]] = []
        #: Next id to give out, the floor asked for, and the floor known to be durable.
        self.next_id = 1
        self.id_floor = 1
        self.id_floor_committed = 1
        #: Reservations by id, and the last id given out.
        self.calendar: dict[int, Reservation] = {}
        self.last_reservation_id = 0
        #: The next moment at which one begins or ends (epoch seconds), for which a timer is set.
        self.calendar_due_at = inf
        #: Set while the machine is being drained.
        self.drain: Drained | None = None
        #: The moment of the last event.
        self.now = Instant(0.0, 0.0)
        #: Recovery is over.
        self.ready = False
        #: Something may be startable; work is left over for the next turn.
        self.pass_wanted = False
        self.again = False
        #: The moment of the last pass; estimates change by themselves as time goes by.
        self.passed_at = Instant(0.0, 0.0)
        #: The highest blocked job or array, which nothing lower may delay.
        self.reserved_id: int | None = None
        #: The moments (boot clock) that its reservation was made by, as far as they are known.
        self.reserved_moments: tuple[float, ...] = ()
        #: When it changes by itself at the latest (epoch seconds), for which a timer is set.
        self.pass_due_at = inf

    def set_capacity(self, capacity: Capacity) -> None:
        """What the machine has; the pool and the cpu set must be counted afresh after it."""
        self.capacity = capacity
        #: The machine with nothing on it.
        self.idle = Pool(capacity)

    def accounts_of(self, item: Item) -> tuple[Account, ...]:
        """Accounts that an item counts in: user, project, group, array."""
        spec = item.spec
        get = self.accounts.get
        found = [get(("user", spec.user))]
        if spec.project is not None:
            found.append(get(("project", spec.project)))
        if spec.group is not None:
            found.append(get(("group", f"{spec.user}/{spec.group}")))
        array_id = item.id if isinstance(item, Array) else item.array_id
        if array_id is not None:
            account = get(("array", array_id))
            account.max_running = self.live.arrays[array_id].limit
            found.append(account)
        return tuple(found)

    def time_limit_s(self, item: Item) -> float:
        """Seconds an attempt may run; infinity without a limit."""
        limit = item.spec.time_limit_s
        if limit is None:
            limit = self.settings.default_time_limit_s
        return inf if limit is None else limit

    def expected_end(self, job: Job) -> float:
        """When an active job reaches its limit, on the boot clock; infinity when unknown."""
        if job.started_boot_s is None or job.suspended_boot_s is not None:
            return inf
        if self.boot_id and job.boot_id and job.boot_id != self.boot_id:
            return inf  # the clock of another boot says nothing
        return job.started_boot_s + job.suspended_s + self.time_limit_s(job)

    def waiting_since_s(self, item: Item, now: Instant) -> float:
        """For how long nothing but limits and resources has kept an item from starting.

        The tasks of an array wait one after the other: the next since the last one started.
        """
        since = item.eligible_at
        if since is None:
            return 0.0
        if isinstance(item, Array):
            since = max(since, self.live.tallies[item.id].started_at)
        return max(0.0, now.wall_s - since)
