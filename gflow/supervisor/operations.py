"""What the API's server may ask: each request becomes events for the core, and an answer."""

from __future__ import annotations

import os

import gflow
from gflow.api.feed import Feed
from gflow.api.operations import LogSlice, Peer, Record, ReportFilter
from gflow.errors import Refused
from gflow.launching import output, request
from gflow.model.state import TERMINAL
from gflow.supervisor import access, estimate, report
from gflow.supervisor.change import ChangeOperations
from gflow.supervisor.outlook import OutlookOperations
from gflow.supervisor.policy import PolicyOperations
from gflow.supervisor.status import describe, metrics
from gflow.supervisor.takeover import TakeoverOperations


class SupervisorOperations(
    TakeoverOperations, ChangeOperations, PolicyOperations, OutlookOperations
):
    """Implements :class:`gflow.api.operations.Operations` on the reactor."""

    @property
    def feed(self) -> Feed:
        """Events of all jobs."""
        return self._reactor.feed

    # --- output ---------------------------------------------------------------------------------

    async def log(
        self, peer: Peer, job_id: int, *, stream: str, offset: int, limit_bytes: int
    ) -> LogSlice:
        """Output from ``offset`` on, read by a one-shot reader."""
        record = await self.job(peer, job_id)
        self._check_reader(peer, record, "log")
        path = record["error_path" if stream == "error" else "output_path"]
        if path is None and stream == "error":
            path = record["output_path"]
        if path is None:
            raise Refused(
                Refused.CONFLICT,
                f"cannot read the log of array {job_id}: name one of its tasks, {job_id}_N",
            )
        ended = record["state"] in TERMINAL
        reader = None
        if access.is_system(self._reactor) and path != self._own_log(record):
            reader = (record["user"], record["uid"], record["gid"])
        try:
            facts, data = await self._reactor.launcher.read(
                lambda number: request.read_file(
                    number, path, offset=offset, limit=limit_bytes, reader=reader
                )
            )
        except Refused as error:
            if error.kind == Refused.NOT_FOUND and not (ended and record["attempt"]):
                return LogSlice(b"", max(offset, 0), 0, ended)
            raise
        return LogSlice(data, facts["offset"], facts["size"], ended)

    def _own_log(self, record: Record) -> str:
        """The job's log in the state folder, which its submitter can read through us alone.

        Any other path is the submitter's word, and is read with his rights.
        """
        array = record["array"] or {"id": None, "task": None}
        logs = self._reactor.folders.logs
        return output.log_path(logs, record["id"], array["id"], array["task"])

    async def script(self, peer: Peer, job_id: int) -> bytes:
        """A script, from memory or from the store."""
        record = await self.job(peer, job_id)
        self._check_reader(peer, record, "script")
        name = record["script"]
        if name is None:
            raise Refused(
                Refused.CONFLICT, f"cannot read the script of job {job_id}: it is a command"
            )
        held = self._reactor.blobs.get(name) or await self._reactor.stored_blob(name)
        if held is None:
            raise Refused(
                Refused.NOT_FOUND,
                f"cannot read the script of job {job_id}: it is not kept any more",
            )
        return held

    def _check_reader(self, peer: Peer, record: Record, what: str) -> None:
        if not access.is_admin(self._reactor, peer) and record["uid"] != peer.uid:
            raise Refused(
                Refused.FORBIDDEN,
                f"cannot read the {what} of job {record['id']}: it is {record['user']}'s",
            )

    # --- the service ----------------------------------------------------------------------------

    async def status(self, peer: Peer) -> Record:
        """The shape of ``status --json``."""
        return describe(self._reactor)

    async def report(self, peer: Peer, which: ReportFilter) -> Record:
        """Sums over ended jobs, from the store."""
        name = None if which.user is None else self._user_word(which.user)
        asked = report.question(which.by, which.since, which.before, name, which.project)
        answer = await self._reactor.persister.query("summary", asked)
        return {"by": list(which.by), "rows": report.rows(answer.value, which.by)}

    async def estimates(self, peer: Peer, which: ReportFilter) -> Record:
        """How good predicted starts were, from the latest of history."""
        filters = {
            "since": which.since,
            "until": which.before,
            "users": None if which.user is None else [self._user_word(which.user)],
            "projects": None if which.project is None else [which.project],
        }
        return await estimate.rows(self._reactor.persister, which.by, filters)

    async def metrics(self, peer: Peer) -> str:
        """The text of ``/v1/metrics``."""
        return metrics(self._reactor)

    async def ping(self, peer: Peer) -> Record:
        """At once."""
        return {"version": gflow.__version__, "pid": os.getpid()}

    async def backup(self, peer: Peer, path: str) -> Record:
        """A copy of the store at an absolute path."""
        access.require_admin(self._reactor, peer, "back up the store")
        answer = await self._reactor.persister.query("backup", {"path": path})
        return dict(answer.value)

    async def check(self, peer: Peer) -> Record:
        """Look over the store."""
        access.require_admin(self._reactor, peer, "check the store")
        answer = await self._reactor.persister.query("check", {})
        return dict(answer.value)
