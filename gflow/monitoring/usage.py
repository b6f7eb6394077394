"""What one attempt has used so far, from sample to sample."""

from __future__ import annotations

from typing import Any

from gflow.process.table import Entry, Identity, Table

#: Bytes read and written, by process.
Transferred = dict[Identity, tuple[int, int]]


class Watched:
    """One attempt under watch. Its root, the shim or a follower, does not count itself."""

    def __init__(self, job_id: int, attempt: int, pid: int, ticks: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self._pid = pid
        self._ticks = ticks
        self._cpu_s = 0.0
        self._max_rss_bytes = 0
        #: Read and written bytes by process, and of those that have ended.
        self._transferred: Transferred = {}
        self._transferred_before = (0, 0)

    def processes(self, table: Table) -> list[Entry]:
        """Its processes that are no zombies; empty when it has ended."""
        if table.get(self._pid, self._ticks) is None:
            return []
        return [entry for entry in table.below(self._pid) if not entry.ended]

    def measure(self, table: Table, transferred: Transferred) -> dict[str, Any] | None:
        """Figures of this moment; None when it has ended. ``transferred``: what is known anew."""
        root = table.get(self._pid, self._ticks)
        if root is None:
            return None
        entries = table.below(self._pid)
        living = [entry for entry in entries if not entry.ended]
        # Whatever was reaped counts with who reaped it: with the shim itself in the end.
        cpu_s = root.children_cpu_s + sum(entry.cpu_s + entry.children_cpu_s for entry in entries)
        self._cpu_s = max(self._cpu_s, cpu_s)
        rss_bytes = sum(entry.rss_bytes for entry in living)
        self._max_rss_bytes = max(self._max_rss_bytes, rss_bytes)
        read_bytes, write_bytes = self._transfer(living, transferred)
        return {
            "cpu_s": round(self._cpu_s, 2),
            "rss_bytes": rss_bytes,
            "max_rss_bytes": self._max_rss_bytes,
            "read_bytes": read_bytes,
            "write_bytes": write_bytes,
            "processes": len(living),
            "threads": sum(entry.threads for entry in living),
        }

    def _transfer(self, living: list[Entry], transferred: Transferred) -> tuple[int, int]:
        current = {}
        for entry in living:
            key = (entry.pid, entry.ticks)
            figures = transferred.get(key) or self._transferred.get(key)
            if figures is not None:
                current[key] = figures
        for key, (read_bytes, write_bytes) in self._transferred.items():
            if key not in current:
                before_read, before_write = self._transferred_before
                self._transferred_before = (before_read + read_bytes, before_write + write_bytes)
        self._transferred = current
        figures_now = [self._transferred_before, *current.values()]
        return sum(one for one, _ in figures_now), sum(two for _, two in figures_now)
