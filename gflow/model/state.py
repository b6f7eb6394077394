"""States, reasons and instants."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """A job's state, in Slurm's words (squeue(1), JOB STATE CODES)."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    #: The command has ended or is being killed; descendants may still live; resources are held.
    COMPLETING = "COMPLETING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"


#: States that hold resources.
ACTIVE = frozenset({State.RUNNING, State.SUSPENDED, State.COMPLETING})
#: States that a job leaves only by requeue.
TERMINAL = frozenset(
    {
        State.COMPLETED,
        State.FAILED,
        State.CANCELLED,
        State.TIMEOUT,
        State.OUT_OF_MEMORY,
        State.NODE_FAIL,
    }
)
LIVE = frozenset(State) - TERMINAL


class Reason(StrEnum):
    """Why a job waits, in Slurm's words (squeue(1), JOB REASON CODES), and our own."""

    PRIORITY = "Priority"
    RESOURCES = "Resources"
    DEPENDENCY = "Dependency"
    DEPENDENCY_NEVER_SATISFIED = "DependencyNeverSatisfied"
    BEGIN_TIME = "BeginTime"
    HELD_USER = "JobHeldUser"
    HELD_ADMIN = "JobHeldAdmin"
    ARRAY_TASK_LIMIT = "JobArrayTaskLimit"
    RESERVATION = "Reservation"
    QUOTA = "Quota"
    DRAINED = "Drained"
    GROUP_LIMIT = "GroupLimit"
    GPUS_UNKNOWN = "GpusUnknown"
    #: A retry or a failed launch waits for its back-off to pass.
    BACKOFF = "BackOff"
    #: The end of a lost attempt could not be observed: never a success.
    LOST = "Lost"


class Instant(NamedTuple):
    """One moment on both clocks.

    Limits and delays count on ``boot_s`` (CLOCK_BOOTTIME: suspend counts, steps of the wall
    clock do not); begin times and display use ``wall_s`` (epoch seconds).
    """

    boot_s: float
    wall_s: float
