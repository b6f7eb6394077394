"""What is to be done: the complete list of things the core asks for."""

from __future__ import annotations

from dataclasses import dataclass

from gflow.model.job import Spec
from gflow.model.state import State


@dataclass(slots=True, frozen=True)
class Admitted:
    """Answer to Submit: one id per spec, in order."""

    job_ids: tuple[int, ...]


@dataclass(slots=True, frozen=True)
class Reserved:
    """Answer to Reserve."""

    reservation_id: int


@dataclass(slots=True, frozen=True)
class Taken:
    """Answer to TakePolicy."""

    #: A few words for each thing, and why it was left; None: it was taken.
    findings: tuple[tuple[str, str | None], ...]


@dataclass(slots=True, frozen=True)
class Start:
    """Start this attempt. Idempotent: the run file lets each attempt start once."""

    job_id: int
    attempt: int
    spec: Spec
    array_id: int | None
    task: int | None
    #: Smallest and largest task number and how many there are; None for single jobs.
    task_min: int | None
    task_max: int | None
    task_count: int | None
    cpu_ids: tuple[int, ...]
    gpu_ids: tuple[int, ...]


@dataclass(slots=True, frozen=True)
class Signal:
    """Send a signal to the command, or to every process of the attempt."""

    job_id: int
    attempt: int
    signal: int
    tree: bool


@dataclass(slots=True, frozen=True)
class Warn:
    """Tell a job that its end is near: the reason into its file, then the signal."""

    job_id: int
    attempt: int
    #: 0: the file alone.
    signal: int
    tree: bool
    #: Why it will end, as in Kill.
    cause: str
    #: Seconds until then.
    left_s: float


@dataclass(slots=True, frozen=True)
class Kill:
    """End the whole tree: SIGTERM, grace period, SIGKILL, until it is empty."""

    job_id: int
    attempt: int
    grace_period_s: float
    #: Why: a job's ``kill_cause``.
    cause: str = "cancel"


@dataclass(slots=True, frozen=True)
class Changed:
    """A job or array changed its state: tell the listeners of the event stream."""

    job_id: int
    #: None: it is new.
    before: State | None
    state: State
    cause: str


Action = Admitted | Reserved | Taken | Start | Signal | Warn | Kill | Changed
