"""Operations without a scheduler: what the server's and the commands' tests speak to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import threading
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gflow.api.feed import Feed
from gflow.api.operations import Action, JobFilter, LogSlice
from gflow.api.server import Limits, Server
from gflow.errors import Refused

TERMINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"}


class FakeOperations:
    """Remembers what was asked in ``calls`` and keeps records that tests may change.

    Tests of another thread change it through ``TestServer.run``.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.records: dict[int, dict[str, Any]] = {}
        self.finished: list[dict[str, Any]] = []
        self.logs: dict[int, bytes] = {}
        self.feed = Feed("t1", capacity=100)
        self.keys: dict[str, dict[str, Any]] = {}
        self.submissions: list[Any] = []
        #: Ends jobs as soon as they are submitted: (state, exit code, signal, output).
        self.ending: tuple[str, int | None, int | None, bytes] | None = None
        self._changed: dict[int, asyncio.Event] = {}
        self.drained: dict[str, Any] | None = None
        self.quota_rows: list[dict[str, Any]] = []
        self.reserved: list[dict[str, Any]] = []

    # --- for tests

    def add(self, job_id: int, **values: Any) -> dict[str, Any]:
        """A record with defaults."""
        record = {
            "id": job_id,
            "name": f"job{job_id}",
            "user": "me",
            "uid": os.getuid(),
            "state": "PENDING",
            "reason": "Resources",
            "command": ["true"],
            "submitted_at": 1_700_000_000.0,
            "started_at": None,
            "finished_at": None,
            "exit_code": None,
            "signal": None,
            "priority": 10,
            "time_limit_s": None,
            "resources": {"cpus": 1, "memory_bytes": 0, "gpus": 0},
            "array": None,
            "project": None,
            "output_path": None,
            **values,
        }
        self.records[job_id] = record
        return record

    def end(self, job_id: int, state: str, **values: Any) -> None:
        """The job ends."""
        before = self.records[job_id]["state"]
        self.records[job_id].update(state=state, finished_at=1_700_000_100.0, **values)
        self.feed.publish(
            {"type": "job", "job_id": job_id, "from": before, "state": state, "at": 1.0}
        )
        self._changed.setdefault(job_id, asyncio.Event()).set()

    # --- the protocol

    def user_name(self, uid: int) -> str | None:
        return "me" if uid == os.getuid() else None

    async def resolve(self, peer: Any, reference: Any) -> int:
        if reference.back is not None:
            ids = sorted(self.records, reverse=True)
            if reference.back < len(ids):
                return ids[reference.back]
        elif reference.id in self.records:
            return reference.id + 1 + (reference.task or 0)
        raise Refused(Refused.NOT_FOUND, "cannot find the job: there is none")

    async def submit(self, peer: Any, submissions: Any, *, wait: bool, key: str | None) -> Any:
        self.calls.append(("submit", (peer, len(submissions), wait, key)))
        self.submissions += submissions
        if key is not None and key in self.keys:
            return self.keys[key]
        ids = []
        for submission in submissions:
            job_id = max(self.records, default=0) + 1
            spec = submission.spec
            self.add(job_id, name=spec.name, command=list(spec.command), output_path=None)
            self.feed.publish({"type": "job", "job_id": job_id, "from": None, "state": "PENDING"})
            ids.append(job_id)
            if self.ending is not None:
                state, code, number, output = self.ending
                self.logs[job_id] = output
                self.end(job_id, state, exit_code=code, signal=number)
        answer = {"job_ids": ids, "durable": wait}
        if len(ids) == 1 and submissions[0].spec.array is not None:
            answer["array_tasks"] = 3
        if key is not None:
            self.keys[key] = answer
        return answer

    async def jobs(self, peer: Any, which: Any, *, cursor: str | None, limit: int) -> Any:
        self.calls.append(("jobs", which))
        found = [
            record
            for job_id, record in sorted(self.records.items())
            if self._matches(record, which) and job_id > int(cursor or 0)
        ]
        page = found[:limit]
        return {"jobs": page, "next": str(page[-1]["id"]) if len(found) > limit else None}

    async def history(self, peer: Any, which: Any, *, cursor: str | None, limit: int) -> Any:
        self.calls.append(("history", which))
        return {"jobs": self.finished[:limit], "next": None}

    async def job(self, peer: Any, job_id: int) -> Any:
        if job_id not in self.records:
            raise Refused(Refused.NOT_FOUND, f"cannot find job {job_id}: there is none")
        return self.records[job_id]

    async def wait_ended(self, peer: Any, job_id: int, timeout_s: float) -> Any:
        record = await self.job(peer, job_id)
        if record["state"] not in TERMINAL:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._changed.setdefault(job_id, asyncio.Event()).wait()
        return record

    async def explain(self, peer: Any, job_id: int) -> Any:
        await self.job(peer, job_id)
        blocker = {
            "reason": "Resources",
            "message": "2 cpus are free",
            "remedy": "ask for fewer",
            "until_at": None,
        }
        return {
            "job_id": job_id,
            "state": "PENDING",
            "position": 1,
            "blockers": [blocker],
            "expected_start_at": {"earliest": None, "latest": None},
        }

    async def transitions(self, peer: Any, job_id: int) -> Any:
        await self.job(peer, job_id)
        first: dict[str, Any] = {"at": 1.0, "from": None, "to": "PENDING", "cause": "submitted"}
        first |= {"uid": os.getuid(), "user": "me"}
        return {"transitions": [first]}

    async def update(
        self, peer: Any, job_id: int, changes: Any, *, wait: bool, blobs: Any = None
    ) -> Any:
        self.calls.append(("update", (job_id, dict(changes))))
        self.blobs = dict(blobs or {})
        return {"job": await self.job(peer, job_id), "durable": wait}

    async def act(
        self,
        peer: Any,
        action: Action,
        which: JobFilter,
        *,
        wait: bool,
        signal: int | None = None,
        tree: bool = False,
    ) -> Any:
        self.calls.append((action.value, (which, signal, tree)))
        done, refused = [], []
        ids = which.ids or [i for i, r in self.records.items() if self._matches(r, which)]
        for job_id in ids:
            if job_id not in self.records:
                message = f"cannot {action} job {job_id}: there is none"
                refused.append({"id": job_id, "kind": "not_found", "message": message})
            else:
                done.append(job_id)
                if action is Action.CANCEL:
                    self.end(job_id, "CANCELLED")
        return {"job_ids": done, "refused": refused, "durable": wait}

    async def script(self, peer: Any, job_id: int) -> bytes:
        record = await self.job(peer, job_id)
        return zlib.compress(record["script"].encode())

    async def log(
        self, peer: Any, job_id: int, *, stream: str, offset: int, limit_bytes: int
    ) -> LogSlice:
        record = await self.job(peer, job_id)
        data = self.logs.get(job_id, b"")
        start = max(0, len(data) + offset) if offset < 0 else min(offset, len(data))
        return LogSlice(
            data[start : start + limit_bytes], start, len(data), record["state"] in TERMINAL
        )

    async def status(self, peer: Any) -> Any:
        return {
            "version": "0.1.0",
            "pid": os.getpid(),
            "uptime_s": 1.0,
            "state_dir": "/state",
            "processes": {"persister": {"pid": 1, "state": "ok", "restarts": 0, "changed": 0}},
            "loop_gap_ms": {"p50": 0.1, "p99": 0.2, "max": 0.3},
            "jobs": {"PENDING": len(self.records)},
            "resources": {
                "total": {"cpus": 2, "memory_bytes": 1 << 30, "gpus": 0},
                "free": {"cpus": 1, "memory_bytes": 1 << 29, "gpus": 0},
            },
            "gpus": [],
            "drained": self.drained,
        }

    async def report(self, peer: Any, which: Any) -> Any:
        asked = asdict(which)
        by = asked.pop("by")
        sums = {"wait_s": 60.0, "elapsed_s": 7200.0, "cpu_s": 3600.0, "cpu_asked_s": 7200.0}
        sums |= {"gpu_s": 0.0, "gpu_asked_s": 0.0}
        sums |= {"memory_byte_s": 1 << 30, "memory_asked_byte_s": 4 << 30}
        row = {**dict.fromkeys(by, "=ada"), "jobs": 2, "states": {"COMPLETED": 1, "FAILED": 1}}
        return {"by": list(by), "rows": [{**row, **sums}], "asked": asked}

    async def estimates(self, peer: Any, which: Any) -> Any:
        by = which.by
        row = {**dict.fromkeys(by, "ada"), "jobs": 4, "on_time": 2, "early": 1, "late": 1}
        row |= {"median_error_s": -90.0, "median_s": 90.0, "p90_s": 3600.0}
        return {"by": list(by), "rows": [row], "looked_at": 9, "complete": False}

    async def metrics(self, peer: Any) -> Any:
        return "gflow_jobs 1\n"

    async def ping(self, peer: Any) -> Any:
        return {"version": "0.1.0", "pid": os.getpid(), "peer": asdict(peer)}

    async def backup(self, peer: Any, path: str) -> Any:
        return {"path": path, "bytes": 4096, "seconds": 0.1}

    async def check(self, peer: Any) -> Any:
        raise ZeroDivisionError("a bug that must not reach the client")

    async def drain(self, peer: Any, *, reason: Any, by_at: Any = None) -> Any:
        self.calls.append(("drain", (reason, by_at)))
        return {"drained": True}

    async def undrain(self, peer: Any) -> Any:
        return {"drained": False}

    async def priority(self, peer: Any, job_id: int) -> Any:
        await self.job(peer, job_id)
        parts = {"top": 0.0, "priority": 10000.0, "fair_share": 900.0, "age": 0.5}
        return {
            "job_id": job_id,
            "state": "PENDING",
            "position": 2,
            "points": 10900.5,
            "parts": parts,
        }

    async def simulate(self, peer: Any, submissions: Any) -> Any:
        self.calls.append(("simulate", len(submissions)))
        self.submissions += submissions
        delayed = [{"id": 7, "before_at": 1.7e9, "after_at": 1.7e9 + 60, "delay_s": 60.0}]
        starts = [{"name": "a", "earliest": 1.7e9, "latest": None} for _ in submissions]
        return {
            "starts_at": 1.7e9,
            "starts": starts,
            "complete": True,
            "delayed": delayed,
            "delayed_count": 1,
        }

    async def rehearse(self, peer: Any, submissions: Any) -> Any:
        self.calls.append(("rehearse", len(submissions)))
        return {"jobs": len(submissions), "tasks": len(submissions)}

    async def account(self, uid: int) -> tuple[str, int]:
        return "me", uid

    #: In user mode all jobs run as the supervisor's user.
    own_identity = (1, 2)

    async def take_jobs(self, peer: Any, jobs: Any, *, dry_run: bool) -> Any:
        self.calls.append(("take_jobs", (list(jobs), dry_run)))
        return {"job_ids": [job.id for job in jobs], "known": 0, "durable": True}

    async def take_policy(self, peer: Any, policy: Any) -> Any:
        self.calls.append(("take_policy", policy))
        return {"taken": [], "left": [], "durable": True}

    async def restrict_cards(self, peer: Any, indices: Any) -> Any:
        self.calls.append(("restrict_cards", indices))
        return {"durable": True}

    async def ignore_process(self, peer: Any, index: int, pid: int) -> Any:
        self.calls.append(("ignore_process", (index, pid)))
        return {"added": True, "durable": True}

    async def heed_process(self, peer: Any, index: int, pid: int) -> Any:
        self.calls.append(("heed_process", (index, pid)))
        return {"durable": True}

    async def quotas(self, peer: Any) -> Any:
        return {"quotas": self.quota_rows}

    async def set_quota(
        self, peer: Any, scope: str, name: str, limits: Any, *, delete: bool = False
    ) -> Any:
        self.calls.append(("set_quota", (scope, name, dict(limits), delete)))
        return {"durable": True}

    async def groups(self, peer: Any) -> Any:
        row = {"user": "me", "name": "g", "max_running": 2, "running": 1, "pending": 3}
        return {"groups": [row]}

    async def set_group(self, peer: Any, user: str, name: str, max_running: int | None) -> Any:
        self.calls.append(("set_group", (user, name, max_running)))
        return {"durable": True}

    async def reservations(self, peer: Any) -> Any:
        return {"reservations": self.reserved}

    async def reserve(self, peer: Any, **wanted: Any) -> Any:
        self.calls.append(("reserve", wanted))
        return {"reservation_id": 1, "durable": True}

    async def unreserve(self, peer: Any, reservation_id: int, *, once: bool = False) -> Any:
        self.calls.append(("unreserve", (reservation_id, once)))
        return {"durable": True}

    @staticmethod
    def _matches(record: dict[str, Any], which: JobFilter) -> bool:
        return (
            (which.ids is None or record["id"] in which.ids)
            and (which.users is None or record["user"] in which.users)
            and (which.names is None or record["name"] in which.names)
            and (which.projects is None or record["project"] in which.projects)
            and (
                record["state"] in which.states
                if which.states is not None
                else which.ended or record["state"] not in TERMINAL
            )
        )


class RunningServer:
    """The server on a real socket, in a loop of its own thread."""

    def __init__(
        self, folder: Path, limits: Limits, allowed_uids: frozenset[int] | None = None
    ) -> None:
        self.operations = FakeOperations()
        self.path = str(folder / "gflow.sock")
        self.folder = folder
        self.logged: list[str] = []
        self.server = Server(
            self.operations, log=self.logged.append, limits=limits, allowed_uids=allowed_uids
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(self.path)
        self._thread.start()
        self.run(self.server.start(sock))

    def run(self, coroutine: Any) -> Any:
        """Run something in the server's loop: a coroutine, or a plain call."""

        async def call() -> Any:
            return coroutine()

        wanted = call() if callable(coroutine) else coroutine
        return asyncio.run_coroutine_threadsafe(wanted, self._loop).result(30)

    def stop(self) -> None:
        self.run(self.server.close(0.2))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextlib.contextmanager
def running_server(
    limits: Limits | None = None, allowed_uids: frozenset[int] | None = None
) -> Iterator[RunningServer]:
    """A server in a private folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="gflow-test-") as folder:
        server = RunningServer(Path(folder), limits or Limits(), allowed_uids)
        server.start()
        try:
            yield server
        finally:
            server.stop()
