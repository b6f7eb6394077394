"""Jobs, arrays and what was asked for.

A :class:`Spec` is what the submitter asked for and is shared by all tasks of an array. A
:class:`Job` is one unit of execution: its facts are persisted, everything else is derived at load.
An :class:`Array` is one small record for all tasks that have not started; a task gets a Job of its
own the moment something happens to it alone (start, hold, cancel, update).

Ids: an array with id A and n tasks owns A (itself) and A+1 … A+n (task at position p, counted from
0, has id A+1+p).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gflow.model.parameter import Sweep
from gflow.model.resources import Resources
from gflow.model.state import State

_ONE_CPU = Resources()
#: One for all: every call of ``frozenset()`` makes a new one of 216 bytes.
NOTHING_MET: frozenset[int] = frozenset()


@dataclass(slots=True, frozen=True)
class Dependency:
    """One condition on other jobs (sbatch(1), --dependency)."""

    #: afterok, afterany, afternotok, after, aftercorr, singleton.
    type: str
    #: Ids of jobs, tasks or whole arrays; empty for singleton.
    jobs: tuple[int, ...] = ()
    #: Seconds that must pass after the condition came true (after+min).
    delay_s: float = 0.0


@dataclass(slots=True, frozen=True)
class RetryRule:
    """How often an unsuccessful end of one cause is tried again, and with what."""

    #: any, oom, timeout, lost, or exit=N.
    cause: str
    #: Retries allowed for this cause.
    times: int
    #: (("memory", 1.5),): factors applied to the request of the next attempt.
    scale: tuple[tuple[str, float], ...] = ()


@dataclass(slots=True, frozen=True)
class ArraySpec:
    """Task numbers of an array and how many may be active at once (sbatch(1), --array)."""

    #: (first, last, step), ascending and without overlap.
    ranges: tuple[tuple[int, int, int], ...]
    #: None means no limit.
    limit: int | None = None


@dataclass(slots=True, frozen=True)
class WarningSignal:
    """A signal some time before the end (sbatch(1), --signal)."""

    signal: int
    #: Seconds before the time limit.
    before_s: float = 60.0
    #: To every process of the job, or (False) to its command alone.
    tree: bool = True


@dataclass(slots=True, frozen=True)
class Spec:
    """What was asked for. Never changed in place; an update replaces it."""

    name: str
    user: str
    uid: int
    gid: int
    #: Argument list. Empty when ``script`` is there.
    command: tuple[str, ...]
    cwd: str
    #: Blob key of the script's text; ``args`` follow it.
    script: str | None = None
    args: tuple[str, ...] = ()
    #: Blob key of the environment (a JSON object of strings).
    env: str | None = None
    resources: Resources = _ONE_CPU
    #: None: no limit.
    time_limit_s: float | None = None
    priority: int = 10
    #: Epoch seconds; None: at once.
    begin_at: float | None = None
    dependencies: tuple[Dependency, ...] = ()
    #: "all" or "any" of ``dependencies`` must come true.
    dependency_mode: str = "all"
    #: Cancel (True) or keep waiting (False) when the dependencies can never come true.
    kill_on_invalid_dependency: bool = False
    array: ArraySpec | None = None
    retries: tuple[RetryRule, ...] = ()
    #: Wait before a retry, doubled each time.
    retry_delay_s: float = 0.0
    #: Run again when an attempt was lost.
    requeue: bool = False
    project: str | None = None
    #: Named group of the submitter's own making (see ``group_limit``).
    group: str | None = None
    #: How many of the group may run at once from now on; None leaves the group's limit as it is.
    group_limit: int | None = None
    umask: int = 0o077
    nice: int = 0
    #: (("NOFILE", soft, hard),): setrlimit names without RLIMIT_, -1 is infinity.
    rlimits: tuple[tuple[str, int, int], ...] = ()
    #: Patterns with %j %A %a %x %u; None: the log in the state folder.
    output_path: str | None = None
    error_path: str | None = None
    #: "append" or "truncate", for output_path and error_path.
    open_mode: str = "truncate"
    #: Bytes of each output file in one attempt; 0: any amount; None: the configured one.
    max_output_bytes: int | None = None
    #: Between SIGTERM and SIGKILL; None: the configured one.
    grace_period_s: float | None = None
    #: Sent before the end; None: nothing is.
    warning: WarningSignal | None = None
    #: Leave the rest of the tree running after the command ended, and wait for it.
    linger: bool = False
    #: Run on a terminal of its own, which viewers can join.
    pty: bool = False
    #: Values of a parameter sweep's task, ((name, value), …).
    params: tuple[tuple[str, str], ...] = ()
    #: What an array's tasks differ in (see :mod:`gflow.model.parameter`); a task has ``params``.
    sweep: Sweep = ()
    #: A line for the shell, run as the submitter once the job has ended for good; None: nothing is.
    on_end: str | None = None
    #: Free text shown by ``show``.
    comment: str | None = None
    #: ((name, value), …): what a client wants to find again; means nothing to us.
    labels: tuple[tuple[str, str], ...] = ()
    #: Idempotency key of the request it came with: the same key again yields the same ids.
    request: str | None = None


@dataclass(slots=True, frozen=True)
class Process:
    """Who a process is: a pid alone is reused, this is not."""

    boot_id: str
    pid: int
    #: Field 22 of /proc/PID/stat, in clock ticks since boot.
    start_ticks: int


@dataclass(slots=True, eq=False)
class Job:
    """One unit of execution: a single job, or one task of an array. All fields are facts."""

    id: int
    spec: Spec
    submitted_at: float
    state: State = State.PENDING
    #: None, "user" or "admin".
    hold: str | None = None
    #: Higher comes first; starts as the spec's and may be changed.
    priority: int = 10
    #: Put before everything with a smaller one, whatever its priority (``update --top``).
    top: int = 0
    #: When nothing but resources kept it from starting; None before that.
    eligible_at: float | None = None
    #: The first expected start that somebody was told; None when nobody asked.
    predicted_start_at: float | None = None
    #: Not to be started before (back-off of a retry or a failed launch); epoch seconds.
    not_before_at: float | None = None
    #: Number of the current or last attempt; 0 before the first.
    attempt: int = 0
    #: When the current attempt was decided on; None while pending.
    started_at: float | None = None
    #: Boot clock at ``started_at``, for limits; valid with ``boot_id`` only.
    started_boot_s: float | None = None
    boot_id: str | None = None
    finished_at: float | None = None
    #: The shim and the command; None until the launcher reported them.
    shim: Process | None = None
    process: Process | None = None
    cpu_ids: tuple[int, ...] = ()
    gpu_ids: tuple[int, ...] = ()
    #: The command's exit code, None when it died by a signal or its end is unknown.
    exit_code: int | None = None
    signal: int | None = None
    #: Why it ended or was held, for people; None: nothing to say (see also Reason).
    reason: str | None = None
    #: State that COMPLETING or a kill leads to, once the tree is empty.
    ending: State | None = None
    #: Why the tree is being killed: "cancel", "timeout", "memory", "requeue", …; None: it is not.
    kill_cause: str | None = None
    #: Seconds of suspension in this attempt, not counted by the time limit.
    suspended_s: float = 0.0
    suspended_boot_s: float | None = None
    #: The signal before the time limit was sent in this attempt.
    warned: bool = False
    #: {cpu_s, max_rss_bytes, read_bytes, write_bytes, …}; None before the first sample. Of rss the
    #: sum over its processes, of pss (if they were seen to share memory) what they have together.
    usage: dict[str, Any] | None = None
    #: Retries spent, by cause.
    retried: dict[str, int] | None = None
    #: Finished attempts, oldest first:
    #: {attempt, state, cause, exit_code, signal, started_at, finished_at}.
    attempts: list[dict[str, Any]] | None = None
    #: Id of its array and its task number; None for single jobs.
    array_id: int | None = None
    task: int | None = None
    #: Number of transitions recorded so far.
    transitions: int = 0
    #: Dependencies already met, by index into spec.dependencies (facts: parents may be purged).
    met: frozenset[int] = NOTHING_MET


@dataclass(slots=True, eq=False)
class Array:
    """All tasks of one array that have no Job of their own, and what holds for them together."""

    id: int
    spec: Spec
    submitted_at: float
    #: Half-open position ranges still waiting, ascending: [(0, 100)]. Derived: what is neither
    #: cancelled here nor has a Job, live or in history.
    pending: list[tuple[int, int]]
    size: int
    #: Positions that were cancelled without ever having a Job.
    cancelled: list[tuple[int, int]] = field(default_factory=list)
    hold: str | None = None
    priority: int = 10
    top: int = 0
    limit: int | None = None
    eligible_at: float | None = None
    #: PENDING while tasks wait or are active; then the worst state of its tasks.
    state: State = State.PENDING
    finished_at: float | None = None
    reason: str | None = None
    transitions: int = 0
    met: frozenset[int] = NOTHING_MET
