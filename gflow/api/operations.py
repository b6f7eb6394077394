"""What the server asks of the supervisor: one protocol, implemented by ``gflow.supervisor``.

Every method answers with values that JSON can carry (records are the shapes of DESIGN, section 7)
and raises :class:`gflow.errors.Refused` when a request cannot be granted; nothing has changed then.
The implementation keeps every turn of the loop short: what touches many jobs yields between slices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gflow.api.feed import Feed
    from gflow.model.job import Job, Spec

#: A JSON object.
Record = dict[str, Any]


@dataclass(slots=True, frozen=True)
class Peer:
    """Who is at the other end of a connection: what SO_PEERCRED said, once, at accept."""

    uid: int
    gid: int
    #: 0 when the peer lives in another pid namespace.
    pid: int
    #: None while the name of the uid is not known; its number is shown instead.
    user: str | None = None


@dataclass(slots=True, frozen=True)
class Submission:
    """One validated spec, and the data that its blob keys name."""

    spec: Spec
    hold: bool = False
    #: Blob key → compressed data (zlib), for ``spec.env`` and ``spec.script``.
    blobs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Policy:
    """What another scheduler knew beside its jobs; see :class:`gflow.model.event.TakePolicy`."""

    next_id: int = 1
    quotas: tuple[tuple[str, str, dict[str, float]], ...] = ()
    reservations: tuple[Record, ...] = ()
    use: tuple[tuple[str, float, float], ...] = ()


class Action(StrEnum):
    """What can be asked of jobs that exist, beside a change of their fields."""

    CANCEL = "cancel"
    HOLD = "hold"
    RELEASE = "release"
    REQUEUE = "requeue"
    SUSPEND = "suspend"
    RESUME = "resume"
    SIGNAL = "signal"


@dataclass(slots=True, frozen=True)
class JobFilter:
    """Which jobs are meant: every given condition must hold; None does not restrict."""

    #: Jobs and arrays (an array's id means all of its tasks).
    ids: tuple[int, ...] | None = None
    #: User names, or uids in digits.
    users: tuple[str, ...] | None = None
    #: State values; None: those that are not terminal.
    states: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None
    #: Also the terminal states that are still kept in memory.
    ended: bool = False


@dataclass(slots=True, frozen=True)
class HistoryFilter:
    """Which finished jobs are meant; as JobFilter. Times are epoch seconds, half open."""

    ids: tuple[int, ...] | None = None
    users: tuple[str, ...] | None = None
    states: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None
    finished_since: float | None = None
    finished_before: float | None = None


@dataclass(slots=True, frozen=True)
class ReportFilter:
    """Which ended jobs a report counts, and what its rows are told apart by."""

    by: tuple[str, ...] = ("user",)
    #: Epoch seconds; None: any time.
    since: float | None = None
    before: float | None = None
    user: str | None = None
    project: str | None = None


@dataclass(slots=True, frozen=True)
class JobReference:
    """A job as users write it: ``7``, ``7_3`` (task of an array), ``@`` (my last), ``@~1``."""

    #: None for ``@``.
    id: int | None = None
    #: Task number; None: the job or the whole array.
    task: int | None = None
    #: Steps back from the peer's last submission; None unless ``@``.
    back: int | None = None


@dataclass(slots=True, frozen=True)
class LogSlice:
    """A piece of a job's output."""

    data: bytes
    #: Where ``data`` begins in the file.
    offset: int
    #: Length of the file when it was read; 0 when there is none yet.
    size_bytes: int
    #: The job is in a terminal state: nothing will follow ``size_bytes``.
    ended: bool


class Operations(Protocol):
    """What the supervisor can do for a peer that was let in."""

    @property
    def feed(self) -> Feed:
        """Events of all jobs; the server replays and follows it."""
        ...

    def user_name(self, uid: int) -> str | None:
        """Name of a user, from memory alone; None while it is not known."""
        ...

    async def account(self, uid: int) -> tuple[str, int]:
        """Name and primary group of a user, asked for if need be; NOT_FOUND without an entry."""
        ...

    async def resolve(self, peer: Peer, reference: JobReference) -> int:
        """Id of the job, array or task; NOT_FOUND when there is none (history included)."""
        ...

    async def submit(
        self, peer: Peer, submissions: Sequence[Submission], *, wait: bool, key: str | None
    ) -> Record:
        """``{"job_ids": […], "durable": bool}``, whole or not at all.

        ``advice`` comes along when a request is far above what its command used before: sentences.

        One array: its one id, and ``"array_tasks": n``.
        ``wait``: answer after the commit (or after ``ack_timeout_s``, with ``durable`` false).
        ``key``: an Idempotency-Key; the same key of the same uid returns the same answer.
        """
        ...

    async def jobs(self, peer: Peer, which: JobFilter, *, cursor: str | None, limit: int) -> Record:
        """``{"jobs": [records, by id], "next": cursor or None}``; ``limit`` ≤ 500."""
        ...

    async def history(
        self, peer: Peer, which: HistoryFilter, *, cursor: str | None, limit: int
    ) -> Record:
        """``{"jobs": [records, latest end first], "next": cursor or None}``; ``limit`` ≤ 500."""
        ...

    async def job(self, peer: Peer, job_id: int) -> Record:
        """The record, from history too. ``output_path`` is absolute and has no patterns left."""
        ...

    async def wait_ended(self, peer: Peer, job_id: int, timeout_s: float) -> Record:
        """The record, as soon as its state is terminal, or as it is when the time is over."""
        ...

    async def explain(self, peer: Peer, job_id: int) -> Record:
        """``{job_id, state, position, blockers, expected_start_at}``."""
        ...

    async def priority(self, peer: Peer, job_id: int) -> Record:
        """``{job_id, state, position, points, parts: {name: points}}``; more points come first."""
        ...

    async def simulate(self, peer: Peer, submissions: Sequence[Submission]) -> Record:
        """When the first would start if all were submitted now, and who would start later for it.

        ``{"starts": [{"name", "earliest", "latest"}], "starts_at": the first one's earliest,
        "complete": bool, "delayed": [{"id", "before_at", "after_at", "delay_s"}],
        "delayed_count": n}``; the most delayed first, ``after_at`` None: nobody can tell.
        """
        ...

    @property
    def own_identity(self) -> tuple[int, int] | None:
        """(uid, gid) that all jobs run as in user mode; None: each as its submitter."""
        ...

    async def take_jobs(self, peer: Peer, jobs: Sequence[Job], *, dry_run: bool) -> Record:
        """Take in jobs of another scheduler (admins): ``{"job_ids", "known", "durable"}``.

        Whole or not at all; ``known``: how many were taken in before and stay as they are now.
        CONFLICT when an id belongs to another job here.
        """
        ...

    async def take_policy(self, peer: Peer, policy: Policy) -> Record:
        """Take in limits, reservations, use and the id counter (admins).

        ``{"taken": [what, …], "left": [{"what", "why"}, …], "durable"}``.
        """
        ...

    async def rehearse(self, peer: Peer, submissions: Sequence[Submission]) -> Record:
        """Refuse what ``submit`` would refuse, else ``{"jobs": n, "tasks": n}``: nothing is made.

        ``tasks`` counts every task of an array.
        """
        ...

    async def transitions(self, peer: Peer, job_id: int) -> Record:
        """``{"transitions": [{at, from, to, cause, uid, user}, …]}``, oldest first.

        ``uid`` and ``user``: who asked for it; null when nobody did.
        """
        ...

    async def update(
        self,
        peer: Peer,
        job_id: int,
        changes: Mapping[str, Any],
        *,
        wait: bool,
        blobs: Mapping[str, bytes] = MappingProxyType({}),
    ) -> Record:
        """``{"job": record, "durable": bool}``. ``changes`` is what ``parse_changes`` returns.

        ``blobs``: data of the script that they name.
        """
        ...

    async def act(
        self,
        peer: Peer,
        action: Action,
        which: JobFilter,
        *,
        wait: bool,
        signal: int | None = None,
        tree: bool = False,
    ) -> Record:
        """``{"job_ids": […], "refused": [{"id", "kind", "message"}], "durable": bool}``.

        One refusal does not stop the others; an id that does not exist is refused as NOT_FOUND.
        ``signal`` and ``tree`` belong to Action.SIGNAL. Without ``which.ids`` only what the peer
        may change is meant (all of its own, unless ``which.users`` says otherwise).
        """
        ...

    async def log(
        self, peer: Peer, job_id: int, *, stream: str, offset: int, limit_bytes: int
    ) -> LogSlice:
        """Output from ``offset`` on (negative: from the end). ``stream``: "output" or "error"."""
        ...

    async def script(self, peer: Peer, job_id: int) -> bytes:
        """The script that was captured at submission, zlib-compressed."""
        ...

    async def status(self, peer: Peer) -> Record:
        """The shape of ``status --json`` (DESIGN, section 7)."""
        ...

    async def report(self, peer: Peer, which: ReportFilter) -> Record:
        """``{"by": […], "rows": […]}``: sums over ended jobs; a row per group, in their order."""
        ...

    async def estimates(self, peer: Peer, which: ReportFilter) -> Record:
        """How good predicted starts of ended jobs were.

        ``{"by", "rows", "looked_at", "complete"}``; a row per group: jobs, on_time, early, late,
        median_error_s, median_s, p90_s.
        """
        ...

    async def metrics(self, peer: Peer) -> str:
        """Figures in Prometheus' text format."""
        ...

    async def ping(self, peer: Peer) -> Record:
        """``{"version": str, "pid": int}``, at once."""
        ...

    async def backup(self, peer: Peer, path: str) -> Record:
        """Write a copy of the store to an absolute path: ``{"path", "bytes", "seconds"}``."""
        ...

    async def check(self, peer: Peer) -> Record:
        """Look over the store: ``{"rows", "structure", "problems": […], "quarantined": […]}``."""
        ...

    async def drain(self, peer: Peer, *, reason: str | None, by_at: float | None = None) -> Record:
        """Start no more jobs until ``undrain``: ``{"drained": true}``.

        ``by_at`` (epoch seconds): those that end before by their limits are started still.
        """
        ...

    async def undrain(self, peer: Peer) -> Record:
        """Start jobs again: ``{"drained": false}``."""
        ...

    async def restrict_cards(self, peer: Peer, indices: tuple[int, ...] | None) -> Record:
        """Give out these cards alone (admins), None: all that the settings allow: ``{"durable"}``.

        Kept over restarts. Which they are shows in ``status``: ``"restricted"`` of each card.
        """
        ...

    async def ignore_process(self, peer: Peer, index: int, pid: int) -> Record:
        """Let a process keep a card back no more (admins): ``{"added": bool, "durable"}``.

        As long as the driver lists it there, over restarts. NOT_FOUND: it does not. Which they
        are shows in ``status``: ``"ignored_pids"`` of each card.
        """
        ...

    async def heed_process(self, peer: Peer, index: int, pid: int) -> Record:
        """Undo ``ignore_process`` (admins): ``{"durable"}``. NOT_FOUND: nothing to undo."""
        ...

    async def quotas(self, peer: Peer) -> Record:
        """``{"quotas": [{scope, name, limits, used}, …]}``; ``used`` is null for the defaults."""
        ...

    async def set_quota(
        self,
        peer: Peer,
        scope: str,
        name: str,
        limits: Mapping[str, float | None],
        *,
        delete: bool = False,
    ) -> Record:
        """Change limits of a user, project or default (admins); None clears one: ``{"durable"}``.

        ``scope`` and the limits' names are those of :class:`gflow.model.event.SetQuota`.
        ``delete`` forgets the whole entry.
        """
        ...

    async def groups(self, peer: Peer) -> Record:
        """``{"groups": [{user, name, max_running, running, pending}, …]}``."""
        ...

    async def set_group(self, peer: Peer, user: str, name: str, max_running: int | None) -> Record:
        """Change how many of a user's group may run at once: ``{"durable"}``."""
        ...

    async def reservations(self, peer: Peer) -> Record:
        """``{"reservations": [{id, uid, user, project, start_at, duration_s, cpus, gpus, …}]}``."""
        ...

    async def reserve(
        self,
        peer: Peer,
        *,
        start_at: float,
        duration_s: float,
        user: str | None = None,
        project: str | None = None,
        cpus: int = 0,
        gpus: int = 0,
        gpu_ids: tuple[int, ...] = (),
        every_s: float | None = None,
        comment: str | None = None,
    ) -> Record:
        """Keep resources for a user or a project (admins): ``{"reservation_id": n}``."""
        ...

    async def unreserve(self, peer: Peer, reservation_id: int, *, once: bool = False) -> Record:
        """Give a reservation back, or only its current or next occurrence: ``{"durable"}``."""
        ...
