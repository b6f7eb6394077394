"""What one attempt has used so far, from sample to sample."""

from __future__ import annotations

from typing import Any

from gflow.monitoring import memory
from gflow.monitoring.series import Series
from gflow.process.table import Entry, Identity, Table

#: What processes share is not looked for in jobs that have less than this.
_WORTH_WEIGHING_BYTES = 64 << 20

#: Bytes read and written, by process.
Transferred = dict[Identity, tuple[int, int]]


class Watched:
    """One attempt under watch: everything below ``root``.

    ``inclusive``: the root counts itself; it is the command of an attempt that lost its shim.
    """

    def __init__(
        self,
        root: Identity,
        *,
        memory_limit_bytes: int | None = None,
        interval_s: float,
        inclusive: bool = False,
        turn: int = 0,
    ) -> None:
        self._root = root
        #: See :meth:`Series.is_told`.
        self._turn = turn
        self._inclusive = inclusive
        self._memory_limit_bytes = memory_limit_bytes
        self._series = Series(interval_s)
        self._begun_s: float | None = None
        self._sampled_s = 0.0
        self._cpu_s = 0.0
        self._cpu_before_s = 0.0
        self._max_rss_bytes = 0
        #: Counted fairly, as far as that is known; told once more than one process was weighed.
        self._max_pss_bytes = 0
        self._weighed = False
        self._rss_seconds = 0.0
        self._transferred: Transferred = {}
        #: Read and written by processes that have ended.
        self._transferred_before = (0, 0)

    def processes(self, table: Table) -> list[Entry]:
        """Its processes that are no zombies; empty when it has ended."""
        root = table.get(*self._root)
        return [entry for entry in self._entries(table, root) if not entry.ended] if root else []

    def _entries(self, table: Table, root: Entry) -> list[Entry]:
        below = table.below(root.pid)
        return [root, *below] if self._inclusive else below

    def measure(
        self, table: Table, now_s: float, transferred: Transferred
    ) -> dict[str, Any] | None:
        """Figures at the monotonic time ``now_s``; None when it has ended.

        ``transferred``: what is known anew. ``series`` comes along now and then when it has grown.
        """
        root = table.get(*self._root)
        if root is None:
            return None
        entries = self._entries(table, root)
        living = [entry for entry in entries if not entry.ended]
        # Whatever was reaped counts with who reaped it: with the shim itself in the end.
        cpu_s = sum(entry.cpu_s + entry.children_cpu_s for entry in entries)
        if not self._inclusive:
            cpu_s += root.children_cpu_s
        self._cpu_s = max(self._cpu_s, cpu_s)
        rss_bytes = sum(entry.rss_bytes for entry in living)
        self._max_rss_bytes = max(self._max_rss_bytes, rss_bytes)
        cpus, mean_rss_bytes = self._advance(now_s, rss_bytes)
        read_bytes, write_bytes = self._transfer(living, transferred)
        figures: dict[str, Any] = {
            "cpu_s": round(self._cpu_s, 2),
            "cpus": round(cpus, 2),
            "rss_bytes": rss_bytes,
            "max_rss_bytes": self._max_rss_bytes,
            "mean_rss_bytes": mean_rss_bytes,
            "read_bytes": read_bytes,
            "write_bytes": write_bytes,
            "processes": len(living),
            "threads": sum(entry.threads for entry in living),
        }
        if len(living) <= 1:
            self._max_pss_bytes = max(self._max_pss_bytes, rss_bytes)
        if self._weighed:
            figures["max_pss_bytes"] = self._max_pss_bytes
        if self._series.add(now_s, cpus, rss_bytes) and self._series.is_told(self._turn):
            figures["series"] = self._series.figures()
        return figures

    def _advance(self, now_s: float, rss_bytes: int) -> tuple[float, int]:
        """Processors in use since the last sample, and the mean of resident memory so far."""
        if self._begun_s is None:
            self._begun_s = self._sampled_s = now_s
            self._cpu_before_s = self._cpu_s
            return 0.0, rss_bytes
        passed_s = now_s - self._sampled_s
        cpus = (self._cpu_s - self._cpu_before_s) / passed_s if passed_s > 0 else 0.0
        self._rss_seconds += rss_bytes * passed_s
        self._sampled_s = now_s
        self._cpu_before_s = self._cpu_s
        total_s = now_s - self._begun_s
        return cpus, int(self._rss_seconds / total_s) if total_s > 0 else rss_bytes

    def _transfer(self, living: list[Entry], transferred: Transferred) -> tuple[int, int]:
        current = {}
        for entry in living:
            figures = transferred.get(entry.identity) or self._transferred.get(entry.identity)
            if figures is not None:
                current[entry.identity] = figures
        for key, (read_bytes, write_bytes) in self._transferred.items():
            if key not in current:
                before_read, before_write = self._transferred_before
                self._transferred_before = (before_read + read_bytes, before_write + write_bytes)
        self._transferred = current
        known = [self._transferred_before, *current.values()]
        return sum(one for one, _ in known), sum(two for _, two in known)

    def may_share(self, figures: dict[str, Any]) -> bool:
        """Whether its peak counted fairly could be higher than is known by now."""
        rss_bytes = figures["rss_bytes"]
        floor_bytes = max(self._max_pss_bytes, _WORTH_WEIGHING_BYTES)
        return bool(figures["processes"] > 1 and rss_bytes > floor_bytes)

    def weigh(self, table: Table, figures: dict[str, Any]) -> None:
        """Add ``pss_bytes`` and ``max_pss_bytes``: shared pages count once."""
        pss_bytes = memory.together(self._resident(table))
        if pss_bytes is not None:
            self._weighed = True
            self._max_pss_bytes = max(self._max_pss_bytes, pss_bytes)
            figures.update(pss_bytes=pss_bytes, max_pss_bytes=self._max_pss_bytes)

    def _resident(self, table: Table) -> dict[int, int]:
        return {entry.pid: entry.rss_bytes for entry in self.processes(table)}

    def excess(self, table: Table, figures: dict[str, Any]) -> dict[str, int] | None:
        """By how much it is over its memory limit, counted fairly; None: it is not.

        Resident sums count shared pages once per process (eight readers of one 400 MB array: 3.6
        GB), so only those above the limit are looked at closely.
        """
        limit = self._memory_limit_bytes
        if not limit or figures["rss_bytes"] <= limit:
            return None
        used = memory.above(limit, self._resident(table))
        return None if used is None else {"used_bytes": used, "limit_bytes": limit}
