"""A curve of bounded size: the longer it gets, the coarser."""

from __future__ import annotations

from typing import Any

#: Points kept at most. Half of them remain when they are merged.
LARGEST = 64
#: A curve is told with every new point while it is shorter than this, ...
_SHORT = 8
#: ... then not more often than this.
_TOLD_EVERY_S = 16.0


class Series:
    """Processors in use (means) and resident memory (peaks) over the life of an attempt.

    Each point stands for ``step_s`` seconds. Pure: time comes from the caller.
    """

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._points: list[tuple[float, int]] = []
        self._begun_s: float | None = None
        self._cpus_sum = 0.0
        self._samples = 0
        self._peak_bytes = 0

    def add(self, now_s: float, cpus: float, rss_bytes: int) -> bool:
        """One sample. Whether that made a new point."""
        if self._begun_s is None:
            self._begun_s = now_s
        self._cpus_sum += cpus
        self._samples += 1
        self._peak_bytes = max(self._peak_bytes, rss_bytes)
        if now_s - self._begun_s < self._step_s * (len(self._points) + 1):
            return False
        self._points.append((self._cpus_sum / self._samples, self._peak_bytes))
        self._cpus_sum, self._samples, self._peak_bytes = 0.0, 0, 0
        if len(self._points) >= LARGEST:
            self._thin()
        return True

    def _thin(self) -> None:
        pairs = zip(self._points[::2], self._points[1::2])
        self._points = [
            ((one_cpus + two_cpus) / 2, max(one_bytes, two_bytes))
            for (one_cpus, one_bytes), (two_cpus, two_bytes) in pairs
        ]
        self._step_s *= 2

    def is_told(self, turn: int) -> bool:
        """Whether a new point is worth telling; curves of other turns are told with other points.

        Hundreds of curves that grow at once would all be taken in and saved at once.
        """
        every = max(1, int(_TOLD_EVERY_S // self._step_s))
        return len(self._points) < _SHORT or (len(self._points) + turn) % every == 0

    def figures(self) -> dict[str, Any]:
        """``step_s``, and one list per curve, oldest first."""
        return {
            "step_s": self._step_s,
            "cpus": [round(cpus, 2) for cpus, _ in self._points],
            "rss_bytes": [rss_bytes for _, rss_bytes in self._points],
        }
