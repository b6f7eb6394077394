"""The reference's paths about jobs."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from gflow.api import dialect, field
from gflow.api.field import Invalid
from gflow.api.operations import Action, JobFilter, JobReference, Operations, Peer, Submission
from gflow.api.quantity import GrammarError
from gflow.api.server import Limits
from gflow.api.server.body import dumps
from gflow.api.server.stream import LOG_BYTES
from gflow.api.server.turn import Turn, in_steps
from gflow.api.specification import Parser, pack, unpack
from gflow.compat import change, listing, message, submission
from gflow.compat.message import answer, peer_of
from gflow.compat.problem import Problem
from gflow.errors import Refused

_BATCH = 1000
_TAIL_LINES = 1000
_MOST_LINES = 20_000
_LOG_BYTES = 256 << 10
_MOST_LOG_BYTES = 4 << 20
_MAX_AT = 1 << 36
_FIXED = "cannot be updated. Only queued or held jobs can be updated."
#: Objects encoded in one turn of the loop.
_SLICE = 100


class JobRoutes:
    """Handlers; each turns a request into calls of the operations."""

    def __init__(self, operations: Operations, limits: Limits) -> None:
        self._operations = operations
        self._limits = limits

    def table(self) -> list[web.RouteDef]:
        """Paths and methods."""
        return [
            web.get("/jobs", self.jobs),
            web.post("/jobs", self.submit),
            web.post("/jobs/batch", self.submit_batch),
            web.get("/jobs/resolve-dependency", self.resolve),
            web.get("/jobs/{id}", self.job),
            web.patch("/jobs/{id}", self.update),
            web.post("/jobs/{id}/finish", self.finish),
            web.post("/jobs/{id}/fail", self.fail),
            web.post("/jobs/{id}/cancel", self.cancel),
            web.post("/jobs/{id}/hold", self.hold),
            web.post("/jobs/{id}/release", self.release),
            web.get("/jobs/{id}/log", self.log_path),
            web.get("/jobs/{id}/log/content", self.log_content),
            web.get("/debug/jobs/{id}", self.debug),
        ]

    # --- submission -----------------------------------------------------------------------------

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """One job."""
        raw = await message.body_of(request, self._limits)
        return answer((await self._submit(peer_of(request), [raw]))[0], status=201)

    async def submit_batch(self, request: web.Request) -> web.StreamResponse:
        """Up to 1000 jobs, all or none."""
        raw = await message.body_of(request, self._limits)
        if not isinstance(raw, list):
            text = "Failed to deserialize the JSON body into the target type: expected an array"
            raise Problem(422, text)
        if not raw:
            raise Problem(400, "Batch must contain at least one job")
        if len(raw) > _BATCH:
            raise Problem(413, f"Batch size exceeds maximum of {_BATCH} jobs")
        return answer(await self._submit(peer_of(request), raw), status=201)

    async def _submit(self, peer: Peer, jobs: list[Any]) -> list[dict[str, Any]]:
        parser = Parser(peer, max_array_tasks=self._limits.array_tasks, pty=self._limits.pty)
        submissions: list[Submission] = []
        names: list[str] = []
        turn = Turn()
        for raw in jobs:
            job = submission.read_job(raw)
            spec = submission.spec(job)
            names.append(spec["labels"]["run_name"])
            submissions.append(parser.parse(spec))
            await turn.breathe()
        try:
            made = await self._operations.submit(peer, submissions, wait=True, key=None)
        except Refused as error:
            # The reference knows no conflict here: a quota that is spent is a bad request to it.
            status = 503 if error.kind == Refused.UNAVAILABLE else 400
            raise Problem(status, str(error)) from None
        return [
            {"id": job_id, "run_name": dialect.named(job_id, name)}
            for job_id, name in zip(made["job_ids"], names)
        ]

    # --- looking --------------------------------------------------------------------------------

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        """A plain array, by id."""
        peer = peer_of(request)
        since = message.integer(request, "created_after")
        try:
            states = dialect.state_names(request.query.get("state", ""))
        except GrammarError as error:
            raise Problem(400, str(error)) from None
        wanted = listing.Wanted(
            states=states or None, users=message.words(request, "user"), submitted_since=since
        )
        found = await listing.records(self._operations, peer, wanted)
        if request.query.get("order") == "desc":
            found.reverse()
        first = message.count(request, "offset", 0, 0, len(found))
        found = found[first : first + message.count(request, "limit", len(found), 0, len(found))]
        return await self._answer_all(peer, found)

    async def _answer_all(self, peer: Peer, found: list[dict[str, Any]]) -> web.StreamResponse:
        pieces = []
        turn = Turn()
        shapes = await listing.shapes(self._operations, peer, found)
        for start in range(0, len(shapes), _SLICE):
            pieces.append(dumps(shapes[start : start + _SLICE])[1:-1])
            await turn.breathe()
        body = b"[" + b",".join(pieces) + b"]"
        return web.Response(body=body, content_type="application/json")

    async def job(self, request: web.Request) -> web.StreamResponse:
        """One job."""
        peer, record = peer_of(request), await self._record(request)
        return answer(await listing.shaped(self._operations, peer, record))

    async def debug(self, request: web.Request) -> web.StreamResponse:
        """One job, and how long it has run."""
        record = await self._record(request)
        shaped = await listing.shaped(self._operations, peer_of(request), record)
        started, limit = record["started_at"], record["time_limit_s"]
        runtime = None
        if started is not None:
            runtime = max(0.0, (record["finished_at"] or time.time()) - started)
        left = None if limit is None or runtime is None else max(0.0, limit - runtime)
        return answer({**shaped, "runtime_seconds": runtime, "time_remaining_seconds": left})

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        """``@`` is the newest job of whoever asks, ``@~1`` the one before."""
        user = request.query.get("username", "")
        shorthand = request.query.get("shorthand", "")
        try:
            reference = field.reference(shorthand)
            if reference.back is None:
                raise Invalid("is no shorthand")
            job_id = await self._operations.resolve(
                peer_of(request), JobReference(back=reference.back)
            )
        except (Invalid, Refused):
            text = f"Cannot resolve dependency '{shorthand[:40]}' for user '{user[:100]}'"
            raise Problem(400, text) from None
        return answer({"job_id": job_id})

    async def _record(self, request: web.Request, *, empty: bool = True) -> dict[str, Any]:
        job_id = message.number_in_path(request)
        try:
            return await self._operations.job(peer_of(request), job_id)
        except Refused as error:
            if error.kind == Refused.NOT_FOUND:
                raise Problem(404, f"Job {job_id} not found", empty=empty) from None
            raise

    # --- output ---------------------------------------------------------------------------------

    async def log_path(self, request: web.Request) -> web.StreamResponse:
        """Where the output is, as a JSON string."""
        record = await self._record(request)
        piece = await self._log(request, -1, 1)
        if record["output_path"] is None or (not piece.size_bytes and not record["attempt"]):
            raise Problem(404, f"Job {record['id']} has no log", empty=True)
        return answer(record["output_path"])

    async def log_content(self, request: web.Request) -> web.StreamResponse:
        """The last lines of the output."""
        record = await self._record(request)
        lines = message.count(request, "tail", _TAIL_LINES, 1, _MOST_LINES)
        most = message.count(request, "max_bytes", _LOG_BYTES, 1, _MOST_LOG_BYTES)
        piece = await self._log(request, -most, min(most, LOG_BYTES))
        if record["output_path"] is None or (not piece.size_bytes and not record["attempt"]):
            raise Problem(404, f"Job {record['id']} has no log", empty=True)
        start, data, size = piece.offset, piece.data, piece.size_bytes
        while piece.data and start + len(data) < size and len(data) < most:
            piece = await self._log(request, start + len(data), min(most - len(data), LOG_BYTES))
            data += piece.data
        if start:
            data = data.partition(b"\n")[2]  # its first line is cut
        kept = b"".join(data.splitlines(keepends=True)[-lines:])
        return answer(
            {
                "job_id": record["id"],
                "path": record["output_path"],
                "size": size,
                "truncated": len(kept) < size,
                "content": kept.decode(errors="replace"),
            }
        )

    async def _log(self, request: web.Request, offset: int, limit: int) -> Any:
        return await self._operations.log(
            peer_of(request),
            message.number_in_path(request),
            stream="output",
            offset=offset,
            limit_bytes=limit,
        )

    # --- changing -------------------------------------------------------------------------------

    async def update(self, request: web.Request) -> web.StreamResponse:
        """Change fields of a job that has not started; null clears."""
        peer = peer_of(request)
        raw = await message.object_of(request, self._limits)
        job_id = message.number_in_path(request)
        patch = submission.read_patch(raw)
        try:
            record = await self._operations.job(peer, job_id)
            if dialect.state(record) not in ("Queued", "Hold"):
                state = dialect.state(record)
                raise Problem(400, f"Job {job_id} is in state '{state}' and {_FIXED}")
            script, turn = None, Turn()
            if change.keeps_script(record, patch):
                packed = await self._operations.script(peer, job_id)
                script = (await in_steps(unpack(packed), turn)).decode()
            changes, limit = change.changes(record, patch, script)
            blobs: dict[str, bytes] = {}
            if changes.get("script") is not None:
                changes["script"] = await in_steps(pack(changes["script"].encode(), blobs), turn)
            if changes:
                wait = limit is None
                await self._operations.update(peer, job_id, changes, wait=wait, blobs=blobs)
            if limit is not None:
                await self._operations.set_group(peer, *limit)
            record = await self._operations.job(peer, job_id)
        except Refused as error:
            if error.kind == Refused.NOT_FOUND:
                raise Problem(400, f"Job {job_id} not found") from None
            raise Problem(403 if error.kind == Refused.FORBIDDEN else 400, str(error)) from None
        shaped = await listing.shaped(self._operations, peer, record)
        return answer({"job": shaped, "updated_fields": list(patch)})

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """End a job; 409 when it has ended."""
        return await self._act(request, Action.CANCEL)

    async def hold(self, request: web.Request) -> web.StreamResponse:
        """Keep a job from starting; 409 when it does not wait."""
        return await self._act(request, Action.HOLD)

    async def release(self, request: web.Request) -> web.StreamResponse:
        """Undo a hold, perhaps not before ``at``; 409 when the job is not held."""
        at = message.integer(request, "at")
        if at is not None and at < 0:
            text = "Invalid release time: 'at' must be a non-negative unix timestamp"
            raise Problem(400, text)
        if at is not None:
            record = await self._record(request)
            if record["hold"] is None:
                raise Problem(409, f"cannot release job {record['id']}: it is not held")
            changes = {"begin_at": max(time.time(), float(min(at, _MAX_AT)))}
            await self._operations.update(peer_of(request), record["id"], changes, wait=False)
        return await self._act(request, Action.RELEASE)

    async def _act(self, request: web.Request, action: Action) -> web.StreamResponse:
        job_id = message.number_in_path(request)
        which = JobFilter(ids=(job_id,), ended=True)
        done = await self._operations.act(peer_of(request), action, which, wait=True)
        for refusal in done["refused"]:
            if refusal["kind"] == Refused.NOT_FOUND:
                raise await self._no_such(request, action, job_id)
            raise Refused(refusal["kind"], refusal["message"])
        return answer(None)

    async def _no_such(self, request: web.Request, action: Action, job_id: int) -> Problem:
        """Gone from memory is not gone: history may know the job, which ended then."""
        record = await self._record(request)
        return Problem(409, f"cannot {action} job {job_id}: it has ended ({record['state']})")

    async def finish(self, request: web.Request) -> web.StreamResponse:
        """Only what is so already: how a job ends is its own doing."""
        return await self._declare(request, "Finished")

    async def fail(self, request: web.Request) -> web.StreamResponse:
        """As ``finish``."""
        return await self._declare(request, "Failed")

    async def _declare(self, request: web.Request, state: str) -> web.StreamResponse:
        record = await self._record(request)
        if dialect.state(record) != state:
            text = f"cannot call job {record['id']} {state.lower()}: its command's exit says that"
            raise Problem(409, text)
        return answer(None)
