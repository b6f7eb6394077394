"""Jobs that hold cards without using them: reported, warned, ended, as the configuration wants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple


class Step(IntEnum):
    """What is done about a job, in order."""

    REPORT = 1
    WARN = 2
    END = 3


class Finding(NamedTuple):
    """A job that has come to a step."""

    job_id: int
    step: Step
    idle_s: float
    #: Seconds until it is ended; None: it will not be.
    left_s: float | None


class IdlePolicy:
    """Which jobs have come to which step; each step of an attempt is told once.

    ``settings``: ``idle_report_s``, ``idle_end_s`` (None: never) and ``idle_warning_s``, the time
    between the warning and the end.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        #: (job id, attempt) → the last step taken.
        self._taken: dict[tuple[int, int], Step] = {}

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Use other settings from now on."""
        self._settings = settings

    def judge(self, samples: Iterable[tuple[int, int, Mapping[str, Any]]]) -> list[Finding]:
        """What follows from figures with ``gpu_idle_s``; jobs that are not among them are over."""
        found = []
        taken = {}
        for job_id, attempt, figures in samples:
            idle_s = figures.get("gpu_idle_s")
            if idle_s is None or (step := self._step(idle_s)) is None:
                continue  # it uses them, or nobody knows: a later idle time is told anew
            before = self._taken.get((job_id, attempt))
            taken[job_id, attempt] = max(step, before or step)
            if before is None or step > before:
                end_s = self._settings["idle_end_s"]
                left_s = None if end_s is None else max(0.0, end_s - idle_s)
                found.append(Finding(job_id, step, idle_s, left_s))
        self._taken = taken
        return found

    def _step(self, idle_s: float) -> Step | None:
        settings = self._settings
        end_s, report_s = settings["idle_end_s"], settings["idle_report_s"]
        if end_s is not None and idle_s >= end_s:
            return Step.END
        if end_s is not None and idle_s >= end_s - settings["idle_warning_s"] and idle_s > 0:
            return Step.WARN
        if report_s is not None and idle_s >= report_s:
            return Step.REPORT
        return None
