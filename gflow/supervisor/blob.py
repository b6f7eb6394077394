"""Scripts and environments that live jobs name: content-addressed, compressed, bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gflow.errors import Refused


class Blobs:
    """Hash → data, held as long as a claim names it. ``claim`` and ``release`` are idempotent."""

    def __init__(self, limit_bytes: int) -> None:
        self._data: dict[str, bytes] = {}
        self._claims: dict[int, tuple[str, ...]] = {}
        self._holders: dict[str, int] = {}
        self.limit_bytes = limit_bytes
        self.total_bytes = 0

    def get(self, name: str) -> bytes | None:
        """The data, or None when no claim holds it here (the store may still have it)."""
        return self._data.get(name)

    def names(self) -> list[str]:
        """Hashes of everything held."""
        return [*self._data]

    def check(self, blobs: Mapping[str, bytes]) -> None:
        """Raises Refused when the new ones among these would not fit."""
        new_bytes = sum(len(data) for name, data in blobs.items() if name not in self._data)
        if self.total_bytes + new_bytes > self.limit_bytes:
            raise Refused(
                Refused.UNAVAILABLE,
                f"cannot keep {new_bytes} bytes of scripts and environments: "
                f"{self.total_bytes} of {self.limit_bytes} bytes are in use",
            )

    def claim(self, job_id: int, names: Iterable[str], data: Mapping[str, bytes]) -> list[str]:
        """Hold the blobs for a job; the names that were not held before, which must be saved."""
        if job_id in self._claims:
            return []
        return self._hold(job_id, tuple(names), data)

    def add(self, job_id: int, data: Mapping[str, bytes]) -> list[str]:
        """Hold more blobs for a job, which has a claim or gets one; else as ``claim``."""
        held = self._claims.get(job_id, ())
        return self._hold(job_id, tuple(name for name in data if name not in held), data)

    def _hold(self, job_id: int, wanted: tuple[str, ...], data: Mapping[str, bytes]) -> list[str]:
        if wanted or job_id not in self._claims:
            self._claims[job_id] = (*self._claims.get(job_id, ()), *wanted)
        new = []
        for name in wanted:
            self._holders[name] = self._holders.get(name, 0) + 1
            if name not in self._data and name in data:
                self._data[name] = data[name]
                self.total_bytes += len(data[name])
                new.append(name)
        return new

    def put(self, name: str, data: bytes) -> None:
        """Data of a claimed blob that came from the store."""
        if name in self._holders and name not in self._data:
            self._data[name] = data
            self.total_bytes += len(data)

    def release(self, job_id: int) -> None:
        """Let go of what the job named; what nobody names any more is dropped from memory."""
        for name in self._claims.pop(job_id, ()):
            self._holders[name] -= 1
            if not self._holders[name]:
                del self._holders[name]
                self.total_bytes -= len(self._data.pop(name, b""))
