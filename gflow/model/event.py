"""What happened: the complete list of things the core reacts to.

Requests carry the uid of who asked; everything else is a report from another process. A handler
that cannot grant a request raises :class:`gflow.errors.Refused` and has changed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gflow.model.job import Job, Process, Spec
from gflow.model.resources import Capacity
from gflow.model.state import State

# --- requests -----------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Submit:
    """New jobs and arrays, admitted whole or not at all. ``hold``: per spec, None or "user"."""

    specs: tuple[Spec, ...]
    uid: int
    holds: tuple[str | None, ...] = ()
    #: More of the same request follows: no scheduling pass yet.
    more: bool = False
    #: Terminal states of jobs that ``specs`` depend on and only history knows.
    ended: tuple[tuple[int, State], ...] = ()


@dataclass(slots=True, frozen=True)
class Cancel:
    """End a job, a task or a whole array."""

    job_id: int
    uid: int
    cause: str = "cancel"
    #: Recorded as the job's reason; None: who cancelled it.
    reason: str | None = None


@dataclass(slots=True, frozen=True)
class SendSignal:
    """Deliver a signal to the command (or the whole tree) without changing the state."""

    job_id: int
    uid: int
    signal: int
    tree: bool = False


@dataclass(slots=True, frozen=True)
class Hold:
    """Keep a pending job from starting. ``admin``: only an admin may release it."""

    job_id: int
    uid: int
    admin: bool = False


@dataclass(slots=True, frozen=True)
class Release:
    """Undo a hold."""

    job_id: int
    uid: int
    admin: bool = False


@dataclass(slots=True, frozen=True)
class Update:
    """Change fields of a job: spec fields while pending; priority and time_limit_s later too."""

    job_id: int
    uid: int
    #: Field of Spec or Resources → new value, already validated; None clears.
    changes: dict[str, Any] = field(default_factory=dict)
    #: Admins may raise priority and time limits beyond what owners may.
    admin: bool = False
    #: As in Submit, for new dependencies.
    ended: tuple[tuple[int, State], ...] = ()
    #: Count of changed dependencies (``Scheduler.dependency_edits``) at which they were found to
    #: close no cycle; None: nobody has looked.
    acyclic: int | None = None


@dataclass(slots=True, frozen=True)
class Requeue:
    """Run a job again: an active one is ended first, an ended one becomes pending."""

    job_id: int
    uid: int


@dataclass(slots=True, frozen=True)
class Suspend:
    """Stop the tree of a running job (SIGSTOP)."""

    job_id: int
    uid: int


@dataclass(slots=True, frozen=True)
class Resume:
    """Continue a suspended job (SIGCONT)."""

    job_id: int
    uid: int


@dataclass(slots=True, frozen=True)
class Drain:
    """Start no more jobs, or only those that end before ``by_at`` (epoch seconds)."""

    uid: int
    reason: str | None = None
    by_at: float | None = None


@dataclass(slots=True, frozen=True)
class Undrain:
    """Start jobs again."""

    uid: int


@dataclass(slots=True, frozen=True)
class SetQuota:
    """Change limits of a user, a project or of all that have none of their own (admins)."""

    #: user, project, default_user or default_project.
    scope: str
    #: Empty for the defaults.
    name: str
    uid: int
    #: running_jobs, running_cpus, running_gpus, pending_jobs, gpu_hours_per_week → limit; None
    #: clears one.
    limits: dict[str, float | None] = field(default_factory=dict)
    #: Forget the whole entry.
    delete: bool = False


@dataclass(slots=True, frozen=True)
class SetGroup:
    """Change how many jobs of a user's group may run at once; None: any number."""

    user: str
    name: str
    uid: int
    max_running: int | None


@dataclass(slots=True, frozen=True)
class Reserve:
    """Keep resources for a user or a project for some time; answered with Reserved."""

    uid: int
    #: Exactly one of the two.
    user: str | None
    project: str | None
    #: Epoch seconds, and how long.
    start_at: float
    duration_s: float
    cpus: int = 0
    gpus: int = 0
    #: Particular cards instead of a number.
    gpu_ids: tuple[int, ...] = ()
    #: Repeated after so long; None: once.
    every_s: float | None = None
    comment: str | None = None


@dataclass(slots=True, frozen=True)
class Unreserve:
    """Give a reservation back: for good, or only this occurrence of a recurring one."""

    reservation_id: int
    uid: int
    once: bool = False


@dataclass(slots=True, frozen=True)
class TakeJobs:
    """Take in jobs of another scheduler, whole or not at all; their ids, states and times stay.

    Each is PENDING or has ended. Only an admin may ask.
    """

    jobs: tuple[Job, ...]
    uid: int
    #: As in Submit.
    more: bool = False
    ended: tuple[tuple[int, State], ...] = ()


@dataclass(slots=True, frozen=True)
class TakePolicy:
    """Take in what else another scheduler knew; what is set here stays. Answered with Taken."""

    uid: int
    #: Ids below were given out there.
    next_id: int = 1
    #: (scope, name, limits), as in SetQuota.
    quotas: tuple[tuple[str, str, dict[str, float]], ...] = ()
    #: {id, user, start_at, duration_s, gpus, gpu_ids, created_at}.
    reservations: tuple[dict[str, Any], ...] = ()
    #: (user, gpu-seconds, when they were last decayed in epoch seconds).
    use: tuple[tuple[str, float, float], ...] = ()


# --- reports from the launcher ------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Started:
    """The command of an attempt runs."""

    job_id: int
    attempt: int
    shim: Process
    process: Process
    #: Epoch seconds at which exec succeeded.
    started_at: float
    started_boot_s: float


@dataclass(slots=True, frozen=True)
class StartFailed:
    """An attempt did not come to exec. ``transient``: the machine was short of something."""

    job_id: int
    attempt: int
    #: The operating system's words, with the path it complained about.
    message: str
    transient: bool = False


@dataclass(slots=True, frozen=True)
class Exited:
    """The command ended. Exactly one of the two codes is set."""

    job_id: int
    attempt: int
    exit_code: int | None
    signal: int | None
    finished_at: float
    #: From wait4: {cpu_s, user_s, system_s, max_rss_bytes, …}.
    usage: dict[str, Any] | None = None
    #: Nothing of the attempt is left. Else its tree may not be empty yet, and Gone comes later.
    gone: bool = False
    #: Its start, when it was not told of before.
    start: Started | None = None


@dataclass(slots=True, frozen=True)
class Gone:
    """Nothing of the attempt is left any more: its resources are free."""

    job_id: int
    attempt: int


@dataclass(slots=True, frozen=True)
class Lost:
    """The attempt's end could not be observed and nothing of it is left. Never a success."""

    job_id: int
    attempt: int
    message: str


@dataclass(slots=True, frozen=True)
class Adopted:
    """Recovery found an attempt that runs (or ran): true whatever the store says."""

    job_id: int
    attempt: int
    shim: Process | None
    process: Process | None
    started_at: float
    started_boot_s: float
    #: The end cannot be observed exactly any more: the shim is dead, the command may live.
    end_unknown: bool = False
    #: What it was given, as its run file says; empty when that is not known.
    cpu_ids: tuple[int, ...] = ()
    gpu_ids: tuple[int, ...] = ()


@dataclass(slots=True, frozen=True)
class NeverStarted:
    """Recovery proved that an attempt never came to exec: back to pending, nothing counted."""

    job_id: int
    attempt: int


# --- reports from elsewhere ---------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Sampled:
    """Usage measured by the monitor: (job id, attempt, figures)."""

    samples: tuple[tuple[int, int, dict[str, Any]], ...]


@dataclass(slots=True, frozen=True)
class CapacityChanged:
    """The machine, its cards or the configuration's limits changed."""

    capacity: Capacity


@dataclass(slots=True, frozen=True)
class Ready:
    """Recovery is over: scheduling may begin."""


@dataclass(slots=True, frozen=True)
class Wake:
    """A moment asked for by ``next_wakeup`` has come (or scheduling may go on)."""


Event = (
    Submit
    | Cancel
    | SendSignal
    | Hold
    | Release
    | Update
    | Requeue
    | Suspend
    | Resume
    | SetQuota
    | SetGroup
    | Drain
    | Undrain
    | Reserve
    | Unreserve
    | TakeJobs
    | TakePolicy
    | Started
    | StartFailed
    | Exited
    | Gone
    | Lost
    | Adopted
    | NeverStarted
    | Sampled
    | CapacityChanged
    | Ready
    | Wake
)
