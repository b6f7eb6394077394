"""The Python API: ``gflow.Client``. Synchronous, standard library only; the commands use it too.

::

    with gflow.Client() as client:
        job = client.submit(["python", "train.py"], cpus=2, time_limit_s=3600)
        record = client.wait(job)
        print(record["state"], client.log(job).decode())

Jobs are named by id or as on the command line: ``7``, ``"7_3"`` (task 3 of array 7), ``"@"`` (my
last). Records are the objects of ``gflowctl --json``. Everything may raise
:class:`~gflow.api.wire.Unreachable` (no supervisor), :class:`~gflow.api.wire.Refusal` (it said no)
and :class:`~gflow.api.wire.Broken` (no answer).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from gflow.api import location, surroundings, wire
from gflow.api.wire import Broken, Refusal, Unreachable, Wire

Record = dict[str, Any]
Job = int | str

#: States that a job leaves only by requeue.
TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"})
_RESOURCES = (
    *("cpus", "memory_bytes", "gpus", "gpu_memory_bytes", "gpu_shared", "gres"),
    *("exclusive", "gpus_allowed"),
)
#: They stand in the request's first line.
_IDS_PER_REQUEST = 2000
#: One request never waits longer than this for a job's end.
_LONG_POLL_S = 50.0


class Event(NamedTuple):
    """One event of the stream; ``type`` is "reset" when some were missed."""

    id: str
    type: str
    data: Record


class Client:
    """Speaks to the supervisor that is found as ``gflowctl`` finds it. Not for several threads.

    ``reconnect_s``: how long ``wait``, ``events`` and a followed log bear it that none is there.
    """

    def __init__(
        self,
        runtime_dir: str | None = None,
        *,
        timeout_s: float = 60.0,
        reconnect_s: float = 60.0,
    ) -> None:
        self._runtime_dir = runtime_dir
        self._timeout_s = timeout_s
        self._reconnect_s = reconnect_s
        self._wire: Wire | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    # --- submission -------------------------------------------------------------------------

    def submit(
        self,
        command: Sequence[str | os.PathLike[str]] | str | None = None,
        *,
        durable: bool = True,
        **fields: Any,
    ) -> int:
        """Submit one job (or array) and return its id, by default once it is safely on disk.

        ``command`` is an argument list, or a line for the shell. ``fields`` are those of a spec
        (DESIGN, section 7: ``script``, ``name``, ``cwd``, ``env``, ``priority``, ``array``, …) and
        of its resources (``cpus``, ``memory_bytes``, ``gpus``, …). Folder, environment, umask,
        niceness and limits are the caller's unless given.
        """
        spec: Record = {"cwd": os.getcwd(), **surroundings.here(), **fields}
        if "env" not in spec:
            spec["env"] = environment()
        if command is not None:
            spec["command"] = _command(command)
        asked = {key: spec.pop(key) for key in list(spec) if key in _RESOURCES}
        if asked:
            within = spec.get("resources") or {}
            for key in asked.keys() & within.keys():
                raise TypeError(f"{key} is given twice: by itself and within resources")
            spec["resources"] = {**within, **asked}
        answer = self.submit_specs(spec, durable=durable)
        return int(answer["job_ids"][0])

    def submit_specs(
        self, specs: Record | list[Record], *, durable: bool = True, key: str | None = None
    ) -> Record:
        """Submit raw specs, all or none: ``{"job_ids": […], "durable": bool}``."""
        return self._call(
            "POST",
            "/v1/jobs" + wire.query({"wait": durable}),
            specs,
            {"Idempotency-Key": key or wire.new_key()},
        )

    # --- looking ----------------------------------------------------------------------------

    def jobs(self, *, ended: bool = False, **filters: Any) -> list[Record]:
        """Live jobs by id; ``ended`` adds those that ended lately.

        Filters are lists: ids, users, states, names, projects; every given one must hold.
        """
        return list(self.each_job(ended=ended, **filters))

    def each_job(self, *, ended: bool = False, **filters: Any) -> Iterator[Record]:
        """The same, page by page as they are needed."""
        return self._pages("/v1/jobs", {"all": ended or None, **_filters(filters)})

    def history(
        self,
        *,
        since: float | None = None,
        before: float | None = None,
        limit: int | None = None,
        **filters: Any,
    ) -> list[Record]:
        """Ended jobs, latest end first, that ended in [since, before) (epoch seconds)."""
        return list(self.each_past_job(since=since, before=before, limit=limit, **filters))

    def each_past_job(
        self,
        *,
        since: float | None = None,
        before: float | None = None,
        limit: int | None = None,
        **filters: Any,
    ) -> Iterator[Record]:
        """The same, page by page as they are needed."""
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative, but is {limit}")
        parameters = {"since": since, "before": before, **_filters(filters)}
        return islice(self._pages("/v1/history", parameters, limit), limit)

    def job(self, job: Job) -> Record:
        """The record of one job, live or from history."""
        return self._call("GET", _path(job))

    def explain(self, job: Job) -> Record:
        """Every reason why a job waits, and when it may start."""
        return self._call("GET", _path(job, "explain"))

    def priority(self, job: Job) -> Record:
        """What a pending job's place in the order is made of."""
        return self._call("GET", _path(job, "priority"))

    def simulate(self, specs: Record | list[Record]) -> Record:
        """When specs would start, and whom they would delay, on a copy of the queue.

        ``{"starts": [{"name", "earliest", "latest"}], "delayed": [{"id", "before_at",
        "after_at", "delay_s"}], "delayed_count", "complete"}``; null: nobody can tell.
        """
        return self._call("POST", "/v1/simulate", specs)

    def rehearse(self, specs: Record | list[Record]) -> Record:
        """Have specs checked as ``submit_specs`` would: ``{"jobs": n, "tasks": n}``."""
        return self._call("POST", "/v1/jobs" + wire.query({"dry_run": True}), specs)

    def transitions(self, job: Job) -> list[Record]:
        """What a job went through, oldest first."""
        answer: list[Record] = self._call("GET", _path(job, "transitions"))["transitions"]
        return answer

    def wait(self, job: Job, timeout_s: float | None = None) -> Record:
        """The record of a job that has ended. Raises TimeoutError. Outlives a restart."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        away_since: float | None = None
        while True:
            rest = _LONG_POLL_S if end is None else max(0.0, end - time.monotonic())
            poll_s = min(rest, _LONG_POLL_S)
            target = _path(job) + wire.query({"until": "ended", "timeout_s": poll_s})
            try:
                record = self._call("GET", target, timeout_s=poll_s + self._timeout_s)
            except (Unreachable, Broken, Refusal) as error:
                if end is not None and time.monotonic() >= end:
                    raise
                away_since = self.bear(error, away_since)
                continue
            away_since = None
            if record["state"] in TERMINAL:
                return record
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"job {job} is {record['state']} after {timeout_s:g} s")

    # --- changing ---------------------------------------------------------------------------

    def cancel(self, *jobs: Job, **filters: Any) -> Record:
        """End jobs and everything they started; as ``act``."""
        return self.act("cancel", *jobs, **filters)

    def hold(self, *jobs: Job, **filters: Any) -> Record:
        """Keep pending jobs from starting; as ``act``."""
        return self.act("hold", *jobs, **filters)

    def release(self, *jobs: Job, **filters: Any) -> Record:
        """Undo hold; as ``act``."""
        return self.act("release", *jobs, **filters)

    def requeue(self, *jobs: Job, **filters: Any) -> Record:
        """Run jobs again; as ``act``."""
        return self.act("requeue", *jobs, **filters)

    def suspend(self, *jobs: Job, **filters: Any) -> Record:
        """Stop running jobs (SIGSTOP); as ``act``."""
        return self.act("suspend", *jobs, **filters)

    def resume(self, *jobs: Job, **filters: Any) -> Record:
        """Let suspended jobs go on; as ``act``."""
        return self.act("resume", *jobs, **filters)

    def signal(self, signal: int | str, *jobs: Job, tree: bool = False, **filters: Any) -> Record:
        """Send a signal to commands, or (``tree``) to all of their processes; as ``act``."""
        return self.act("signal", *jobs, signal=signal, tree=tree, **filters)

    def act(
        self,
        action: str,
        *jobs: Job,
        durable: bool = True,
        signal: int | str | None = None,
        tree: bool | None = None,
        **filters: Any,
    ) -> Record:
        """``{"job_ids": done, "refused": [{"id", "kind", "message"}], "durable": bool}``.

        Filters: users, states, names, projects (lists), or ``all=True`` (all of mine).
        """
        named = {
            key: _several(key, value) if key in _FILTERS and value is not None else value
            for key, value in filters.items()
        }
        body: Record = {"jobs": list(jobs) or None, "signal": signal, "tree": tree, **named}
        asked = {key: value for key, value in body.items() if value is not None}
        return self._call("POST", f"/v1/actions/{action}" + wire.query({"wait": durable}), asked)

    def update(self, job: Job, changes: Mapping[str, Any], *, durable: bool = True) -> Record:
        """Change fields of a spec; None clears: ``{"job": record, "durable": bool}``."""
        if not isinstance(changes, Mapping):
            raise TypeError(f"changes must be a mapping, not {_kind(changes)}")
        return self._call("PATCH", _path(job) + wire.query({"wait": durable}), dict(changes))

    # --- following --------------------------------------------------------------------------

    def log(self, job: Job, *, stream: str = "output", offset: int = 0) -> bytes:
        """A job's output so far, from an offset on (negative: from its end)."""
        pieces = []
        while True:
            piece, start, size = self.log_slice(job, stream=stream, offset=offset)
            pieces.append(piece)
            offset = start + len(piece)
            if not piece or offset >= size:
                return b"".join(pieces)

    def log_slice(
        self, job: Job, *, stream: str = "output", offset: int = 0
    ) -> tuple[bytes, int, int]:
        """(a piece of output, where it begins, length of the whole)."""
        target = _path(job, "log") + wire.query({"stream": stream, "offset": offset})
        answer = self._connection().request("GET", target)
        headers = answer.headers
        return answer.body, int(headers["gflow-log-offset"]), int(headers["gflow-log-size"])

    def script(self, job: Job) -> str:
        """The script of a job as it was submitted. Refused for a job that is a command."""
        import zlib

        return zlib.decompress(
            self._connection().request("GET", _path(job, "script")).body
        ).decode()

    def follow_log(self, job: Job, *, stream: str = "output", offset: int = 0) -> Iterator[bytes]:
        """Output as it comes, until the job has ended. Outlives a restart."""
        away_since: float | None = None
        while True:
            connection = self.new_wire(None)
            parameters = {"stream": stream, "offset": offset, "follow": True}
            try:
                headers, pieces = connection.stream(_path(job, "log") + wire.query(parameters))
                offset = int(headers["gflow-log-offset"])
                for piece in pieces:
                    away_since = None
                    offset += len(piece)
                    yield piece
                return
            except (Unreachable, Broken, Refusal) as error:
                away_since = self.bear(error, away_since)
            finally:
                connection.close()

    def events(
        self, *, after: str | None = None, jobs: Sequence[Job] | None = None
    ) -> Iterator[Event]:
        """Events from now on, or after an id; for ever. Outlives a restart (as a "reset")."""
        away_since: float | None = None
        named = _several("jobs", jobs) if jobs else None
        target = "/v1/events" + wire.query({"job": named})
        while True:
            connection = self.new_wire(None)
            try:
                _, pieces = connection.stream(target, {"Last-Event-ID": after} if after else None)
                for event in _events(pieces):
                    away_since = None
                    after = event.id or after
                    if event.type != "hello":
                        yield event
            except (Unreachable, Broken, Refusal) as error:
                away_since = self.bear(error, away_since)
            finally:
                connection.close()

    def end_watch(self, job: Job) -> EndWatch:
        """Looks out for a job's end while its caller does something else."""
        return EndWatch(self, job)

    def report(
        self,
        *,
        by: Sequence[str] = ("user",),
        since: float | None = None,
        before: float | None = None,
        user: str | None = None,
        project: str | None = None,
    ) -> Record:
        """``{"by", "rows"}``: sums over ended jobs, per ``user``, ``project``, ``day``, ``state``.

        ``since`` and ``before`` are epoch seconds; the days that they fall on count whole (UTC).
        """
        asked = {"since": since, "before": before, "user": user, "project": project}
        return self._report("/v1/report", by, asked)

    def estimates(
        self,
        *,
        by: Sequence[str] = ("user",),
        since: float | None = None,
        before: float | None = None,
        user: str | None = None,
        project: str | None = None,
    ) -> Record:
        """How good predicted starts were: ``{"by", "rows", "looked_at", "complete"}``.

        A row: ``jobs``, of them ``on_time`` (within a minute), ``early``, ``late``; the errors'
        ``median_error_s`` (later is above 0), and the ``median_s`` and ``p90_s`` of their sizes.
        """
        asked = {"since": since, "before": before, "user": user, "project": project}
        return self._report("/v1/report/estimates", by, asked)

    def _report(self, path: str, by: Sequence[str], asked: Record) -> Record:
        return self._call("GET", path + wire.query({"by": _several("by", by), **asked}))

    # --- the service ------------------------------------------------------------------------

    def status(self) -> Record:
        """How the supervisor and its processes are."""
        return self._call("GET", "/v1/status")

    def ping(self) -> Record:
        """``{"version", "pid"}``."""
        return self._call("GET", "/v1/ping")

    def backup(self, path: str) -> Record:
        """Write a copy of the store to a new file."""
        return self._call("POST", "/v1/backup", {"path": os.path.abspath(path)}, timeout_s=3600.0)

    def check(self) -> Record:
        """Look over the store: ``{"rows", "structure", "problems": […], "quarantined": […]}``."""
        return self._call("POST", "/v1/check", timeout_s=3600.0)

    def drain(self, reason: str | None = None, by_at: float | None = None) -> Record:
        """Start no more jobs; with ``by_at`` (epoch seconds), only those that end before."""
        return self._call("POST", "/v1/drain", {"reason": reason, "by_at": by_at})

    def undrain(self) -> Record:
        """Start jobs again."""
        return self._call("POST", "/v1/undrain")

    # --- who may have how much ----------------------------------------------------------------

    def quotas(self) -> list[Record]:
        """``[{"scope", "name", "limits", "used"}, …]``."""
        found: list[Record] = self._call("GET", "/v1/quotas")["quotas"]
        return found

    def set_quota(self, scope: str, name: str | None = None, **limits: float | None) -> Record:
        """Change limits of a "user" or "project", or of "default_user" or "default_project".

        ``running_jobs``, ``running_cpus``, ``running_gpus``, ``pending_jobs``,
        ``gpu_hours_per_week``; None clears one.
        """
        body = {"scope": scope, "name": name, "limits": limits}
        return self._call("PATCH", "/v1/quotas", body)

    def clear_quota(self, scope: str, name: str | None = None) -> Record:
        """Forget all limits of one subject that were set at run time."""
        return self._call("DELETE", "/v1/quotas" + wire.query({"scope": scope, "name": name}))

    def restrict_cards(self, indices: Sequence[int] | None) -> Record:
        """Give out these cards alone; None: all that the settings allow. Kept over restarts."""
        allowed = None if indices is None else list(indices)
        return self._call("PATCH", "/v1/gpus", {"allowed": allowed})

    def ignore_process(self, index: int, pid: int) -> Record:
        """Let a process keep a card back no more, as long as it is there."""
        return self._call("POST", f"/v1/gpus/{index}/ignore", {"pid": pid})

    def heed_process(self, index: int, pid: int) -> Record:
        """Undo ``ignore_process``."""
        return self._call("POST", f"/v1/gpus/{index}/heed", {"pid": pid})

    def groups(self) -> list[Record]:
        """``[{"user", "name", "max_running", "running", "pending"}, …]``."""
        found: list[Record] = self._call("GET", "/v1/groups")["groups"]
        return found

    def set_group(self, name: str, max_running: int | None, user: str | None = None) -> Record:
        """Change how many jobs of a group (one's own, unless ``user``) may run at once."""
        body = {"name": name, "max_running": max_running, "user": user}
        return self._call("PATCH", "/v1/groups", body)

    def reservations(self) -> list[Record]:
        """Those that last or are to come, by id."""
        found: list[Record] = self._call("GET", "/v1/reservations")["reservations"]
        return found

    def reservation(self, number: int) -> Record:
        """One of them."""
        return self._call("GET", f"/v1/reservations/{number}")

    def reserve(self, start_at: float, duration_s: float, **wanted: Any) -> Record:
        """Keep ``cpus``, ``gpus`` or ``gpu_ids`` for a ``user`` or ``project``.

        Times are epoch seconds and seconds; ``every_s`` repeats it. ``{"reservation_id": n}``.
        """
        body = {"start_at": start_at, "duration_s": duration_s, **wanted}
        return self._call("POST", "/v1/reservations", body)

    def unreserve(self, number: int, *, once: bool = False) -> Record:
        """Give a reservation back, or only its current or next occurrence."""
        target = f"/v1/reservations/{number}" + wire.query({"once": once or None})
        return self._call("DELETE", target)

    # --- from another scheduler ---------------------------------------------------------------

    def take_jobs(self, jobs: Sequence[Record], *, dry_run: bool = False) -> Record:
        """Take in up to 10,000 jobs with their ids: ``{"job_ids", "known", "durable"}``.

        See ``gflow.api.arrival`` for what a job is.
        """
        target = "/v1/import/jobs" + wire.query({"dry_run": dry_run or None})
        return self._call("POST", target, list(jobs), timeout_s=600.0)

    def take_policy(self, policy: Record) -> Record:
        """Take in limits, reservations and use: ``{"taken", "left", "durable"}``."""
        return self._call("POST", "/v1/import/policy", policy)

    # --- parts ------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Record:
        answer: Record = self._connection().call(method, target, body, headers, timeout_s)
        return answer

    def _connection(self) -> Wire:
        if self._wire is None:
            self._wire = self.new_wire(self._timeout_s)
        return self._wire

    def new_wire(self, timeout_s: float | None = None) -> Wire:
        """A connection of its own, for what goes on beside other requests."""
        path, problem = location.find_socket(self._runtime_dir)
        if path is None:
            raise Unreachable(f"no supervisor runs: {problem}")
        return Wire(path, timeout_s)

    def _pages(
        self, target: str, parameters: Mapping[str, Any], limit: int | None = None
    ) -> Iterator[Record]:
        ids = parameters.get("id") or ()
        if len(ids) > _IDS_PER_REQUEST:
            for start in range(0, len(ids), _IDS_PER_REQUEST):
                some = {**parameters, "id": ids[start : start + _IDS_PER_REQUEST]}
                yield from self._pages(target, some, limit)
            return
        cursor = None
        count = 0
        while limit is None or count < limit:
            size = None if limit is None else min(500, limit - count)
            page = self._call(
                "GET", target + wire.query({**parameters, "cursor": cursor, "limit": size})
            )
            yield from page["jobs"]
            count += len(page["jobs"])
            cursor = page["next"]
            if cursor is None:
                return

    def bear(self, error: wire.WireError, away_since: float | None) -> float:
        """Wait a little for a supervisor that is away; raise the error when it was too long."""
        if isinstance(error, Refusal) and error.status != 503:
            raise error
        self.close()
        now = time.monotonic()
        since = now if away_since is None else away_since
        if now - since >= self._reconnect_s:
            raise error
        time.sleep(0.05 if now == since else 0.25)
        return since


class EndWatch:
    """A long poll in the background: ``poll`` returns the record once the job has ended."""

    def __init__(self, client: Client, job: Job) -> None:
        self._client = client
        self._target = _path(job) + wire.query({"until": "ended", "timeout_s": _LONG_POLL_S})
        self._wire: Wire | None = None
        self._away_since: float | None = None

    def poll(self, timeout_s: float) -> Record | None:
        """The record of the ended job; None when it has not ended within the time."""
        try:
            if self._wire is None:
                self._wire = self._client.new_wire()
                self._wire.ask(self._target)
            if not self._wire.ready(timeout_s):
                return None
            record: Record = self._wire.take()
            if record["state"] in TERMINAL:
                self.close()
                return record
            self._wire.ask(self._target)
        except (Unreachable, Broken, Refusal) as error:
            self.close()
            self._away_since = self._client.bear(error, self._away_since)
        else:
            self._away_since = None
        return None

    def close(self) -> None:
        """Close its connection."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None


#: Filters → keys of a query.
_FILTERS = {
    "ids": "id",
    "users": "user",
    "states": "state",
    "names": "name",
    "projects": "project",
}


def _filters(filters: Mapping[str, Any]) -> Record:
    unknown = filters.keys() - _FILTERS.keys()
    if unknown:
        raise TypeError(f"unknown filter {sorted(unknown)[0]!r}; known: {', '.join(_FILTERS)}")
    return {
        _FILTERS[key]: _several(key, value) for key, value in filters.items() if value is not None
    }


def _command(value: Any) -> str | list[str]:
    """A line for the shell, or words in their order: what has none would run something else."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence | Iterator) or isinstance(value, bytes | bytearray):
        raise TypeError(
            f"command must be a list of words or a line for the shell, not {_kind(value)}"
        )
    return [os.fspath(word) if isinstance(word, os.PathLike) else word for word in value]


def _several(name: str, value: Any) -> list[Any]:
    """The items of a list; a single word or number is one of its own."""
    if isinstance(value, str | int):
        return [value]
    if isinstance(value, bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list, not {_kind(value)}")
    return list(value)


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _path(job: Job, *rest: str) -> str:
    return "/".join(["/v1/jobs", wire.quote(str(job)), *rest])


def _events(pieces: Iterator[bytes]) -> Iterator[Event]:
    """Server-sent events of a byte stream (HTML standard, section 9.2)."""
    buffer = b""
    for piece in pieces:
        buffer += piece
        *blocks, buffer = buffer.split(b"\n\n")
        for block in blocks:
            fields = dict(
                line.split(": ", 1) for line in block.decode().split("\n") if ": " in line[1:]
            )
            if "event" in fields:
                data = json.loads(fields.get("data", "{}"))
                yield Event(fields.get("id", ""), fields["event"], data)


def environment() -> dict[str, str]:
    """This process's environment; variables that are not UTF-8 are left out."""
    variables = {}
    for name, value in os.environb.items():
        try:
            variables[name.decode()] = value.decode()
        except UnicodeDecodeError:
            continue
    return variables
