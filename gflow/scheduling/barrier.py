"""A moment from which on something is kept: for the reserved job, a reservation, or a drain."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from gflow.scheduling.pool import Pool


class Barrier:
    """From ``at_boot_s`` on, jobs that still run must fit ``pool`` as well."""

    __slots__ = ("at_boot_s", "later", "pool", "starts_boot_s")

    def __init__(self, at_boot_s: float, pool: Pool, starts_boot_s: float) -> None:
        #: Boot clock; minus infinity: every job has to leave it alone.
        self.at_boot_s = at_boot_s
        self.pool = pool
        #: When the reserved job is expected to start; infinity: nobody can tell.
        self.starts_boot_s = starts_boot_s
        #: What the reserved job leaves beside reservations that begin while it runs.
        self.later: Sequence[Barrier] = ()

    def stops(self, end_boot_s: float) -> bool:
        """Whether a job with this end would still run when the barrier comes."""
        # An unknown end reaches even a barrier at an unknown moment.
        return end_boot_s > self.at_boot_s or end_boot_s == inf
