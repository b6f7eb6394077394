"""Signals that announce the time limit, once per attempt (sbatch(1), --signal)."""

from __future__ import annotations

from math import inf

from gflow.model.action import Action, Warn
from gflow.model.job import Job
from gflow.model.state import Instant, State
from gflow.scheduling.core import Core


def arm(core: Core, job: Job) -> None:
    """Look at an active job again when its warning is due."""
    core.timers.at_boot(_due_s(core, job), job.id)


def warn(core: Core, job: Job, now: Instant) -> list[Action]:
    """The warning, if it is due and the command is there to get it.

    One that was missed, because nobody scheduled then, comes late rather than never.
    """
    warning = job.spec.warning
    if warning is None or job.state is not State.RUNNING or job.process is None:
        return []
    if _due_s(core, job) > now.boot_s:
        return []
    job.warned = True
    core.live.change(job)
    left_s = max(0.0, core.expected_end(job) - now.boot_s)
    return [Warn(job.id, job.attempt, warning.signal, warning.tree, "timeout", left_s)]


def _due_s(core: Core, job: Job) -> float:
    """On the boot clock; infinity when there is nothing to announce."""
    warning = job.spec.warning
    if warning is None or job.warned:
        return inf
    return core.expected_end(job) - warning.before_s
