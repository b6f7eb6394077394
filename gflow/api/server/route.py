"""Paths of the API and what each does (DESIGN, section 7)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, TypeVar

from aiohttp import web

from gflow.api import field
from gflow.api.field import Invalid
from gflow.api.grammar import MAX_ID
from gflow.api.operations import (
    Action,
    JobFilter,
    JobReference,
    Operations,
    Peer,
    ReportFilter,
    Submission,
)
from gflow.api.quantity import GrammarError, parse_signal
from gflow.api.server.body import read_items, read_object
from gflow.api.server.connection import Limits
from gflow.api.server.policy import PolicyRoutes
from gflow.api.server.query import Query, Resolve, conditions_of, history_filter, job_filter
from gflow.api.server.reply import answer, answer_page, connection_of, peer_of
from gflow.api.server.stream import (
    LOG_BYTES,
    Streams,
    follow_events,
    follow_log,
    log_headers,
)
from gflow.api.server.takeover import TakeoverRoutes
from gflow.api.server.turn import Turn, in_steps
from gflow.api.specification import Parser, pack, parse_changes, references_of
from gflow.errors import Refused

_Value = TypeVar("_Value")

_MAX_KEY = 255
#: A name that is not known after a second is shown as its number.
_NAME_LOOKS = 20
_NAME_LOOK_S = 0.05


class Routes:
    """Handlers of one server; each turns a request into one call of the operations."""

    def __init__(self, operations: Operations, limits: Limits, streams: Streams) -> None:
        self._operations = operations
        self._limits = limits
        self._streams = streams

    def table(self) -> list[web.RouteDef]:
        """Every path and method that there is."""
        return [
            web.post("/v1/jobs", self.submit),
            web.get("/v1/jobs", self.jobs),
            web.get("/v1/jobs/{job}", self.job),
            web.patch("/v1/jobs/{job}", self.update),
            web.get("/v1/jobs/{job}/log", self.log),
            web.get("/v1/jobs/{job}/script", self.script),
            web.get("/v1/jobs/{job}/explain", self.explain),
            web.get("/v1/jobs/{job}/priority", self.priority),
            web.get("/v1/jobs/{job}/transitions", self.transitions),
            web.post("/v1/jobs/{job}/{action}", self.act_on_one),
            web.post("/v1/actions/{action}", self.act_on_many),
            web.post("/v1/simulate", self.simulate),
            web.get("/v1/history", self.history),
            web.get("/v1/events", self.events),
            web.get("/v1/report", self.report),
            web.get("/v1/report/estimates", self.estimates),
            web.get("/v1/status", self.status),
            web.get("/v1/metrics", self.metrics),
            web.get("/v1/ping", self.ping),
            web.post("/v1/backup", self.backup),
            web.post("/v1/check", self.check),
            *PolicyRoutes(self._operations, self._limits).table(),
            *TakeoverRoutes(self._operations, self._limits).table(),
        ]

    # --- submission -------------------------------------------------------------------------

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """One spec or a list of them, whole or not at all; ``dry_run=true`` only checks them."""
        asked = Query(request, "wait", "dry_run")
        wait, dry_run = asked.flag("wait", True), asked.flag("dry_run", False)
        key = _idempotency_key(request)
        peer, submissions = await self._submissions(request, key)
        if dry_run:
            return answer(await self._operations.rehearse(peer, submissions))
        made = await self._operations.submit(peer, submissions, wait=wait, key=key)
        return answer(made, status=201)

    async def simulate(self, request: web.Request) -> web.StreamResponse:
        """When specs would start, and whom they would delay."""
        Query(request)
        peer, submissions = await self._submissions(request, None)
        return answer(await self._operations.simulate(peer, submissions))

    async def _submissions(
        self, request: web.Request, key: str | None
    ) -> tuple[Peer, list[Submission]]:
        """Who asks, by name, and every spec of the body."""
        peer = await self._named(peer_of(request))
        references: dict[JobReference, int] = {}
        parser = Parser(
            peer,
            max_array_tasks=self._limits.array_tasks,
            references=references,
            request=key,
            inherited=self._limits.inherited,
            pty=self._limits.pty,
        )
        submissions: list[Submission] = []
        turn = Turn()
        async for raw in read_items(request, self._limits):
            if len(submissions) >= self._limits.specs:
                raise Refused(
                    Refused.TOO_LARGE, f"cannot submit more than {self._limits.specs} jobs at once"
                )
            for reference in references_of(raw) - references.keys():
                references[reference] = await self._operations.resolve(peer, reference)
            try:
                submissions.append(await in_steps(parser.steps(raw), turn))
            except Refused as error:
                if not submissions:
                    raise
                number = len(submissions)
                raise Refused(error.kind, f"{error} (item {number} of the list)") from None
        if not submissions:
            raise Refused(Refused.INVALID, "cannot submit jobs: the list is empty")
        return peer, submissions

    # --- looking ----------------------------------------------------------------------------

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        """A page of live jobs (``all=true``: recently ended ones too)."""
        asked = Query(request, "all", "cursor", "limit", filters=True)
        peer = peer_of(request)
        which = await job_filter(
            asked.conditions(), self._resolver(peer), ended=asked.flag("all", False)
        )
        cursor, limit = asked.page
        return await answer_page(
            await self._operations.jobs(peer, which, cursor=cursor, limit=limit)
        )

    async def history(self, request: web.Request) -> web.StreamResponse:
        """A page of ended jobs, latest end first."""
        asked = Query(request, "since", "before", "cursor", "limit", filters=True)
        peer = peer_of(request)
        since, before = (
            None if asked.text(key) is None else asked.number(key, 0, -(1 << 36), 1 << 36)
            for key in ("since", "before")
        )
        which = await history_filter(asked.conditions(), self._resolver(peer), since, before)
        cursor, limit = asked.page
        return await answer_page(
            await self._operations.history(peer, which, cursor=cursor, limit=limit)
        )

    async def job(self, request: web.Request) -> web.StreamResponse:
        """One record; ``until=ended`` waits for its end, ``timeout_s`` at most."""
        asked = Query(request, "until", "timeout_s")
        peer = peer_of(request)
        job_id = await self._job_id(request, peer)
        until = asked.text("until")
        if until is None:
            return answer(await self._operations.job(peer, job_id))
        if until != "ended":
            raise Refused(Refused.INVALID, "cannot take the request: until must be ended")
        wait_s = self._limits.wait_s
        timeout_s = asked.number("timeout_s", wait_s, 0, float("inf"))
        return await self._wait_ended(request, peer, job_id, min(timeout_s, wait_s))

    async def _wait_ended(
        self, request: web.Request, peer: Peer, job_id: int, timeout_s: float
    ) -> web.StreamResponse:
        connection = connection_of(request)
        wake = self._streams.enter(connection)
        waiting = asyncio.ensure_future(self._operations.wait_ended(peer, job_id, timeout_s))
        disturbed = asyncio.ensure_future(wake.wait())
        try:
            await asyncio.wait((waiting, disturbed), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise Refused(Refused.UNAVAILABLE, "cannot wait any longer: the supervisor ends")
            return answer(waiting.result())
        finally:
            waiting.cancel()
            disturbed.cancel()
            self._streams.leave(connection, wake)

    async def explain(self, request: web.Request) -> web.StreamResponse:
        """Every reason why the job waits, and when it may start."""
        Query(request)
        peer = peer_of(request)
        return answer(await self._operations.explain(peer, await self._job_id(request, peer)))

    async def priority(self, request: web.Request) -> web.StreamResponse:
        """What the job's place in the order is made of."""
        Query(request)
        peer = peer_of(request)
        return answer(await self._operations.priority(peer, await self._job_id(request, peer)))

    async def transitions(self, request: web.Request) -> web.StreamResponse:
        """What the job went through."""
        Query(request)
        peer = peer_of(request)
        return answer(await self._operations.transitions(peer, await self._job_id(request, peer)))

    async def log(self, request: web.Request) -> web.StreamResponse:
        """Output from ``offset`` on; ``follow=true`` goes on until the job has ended."""
        asked = Query(request, "stream", "offset", "limit", "follow")
        peer = peer_of(request)
        job_id = await self._job_id(request, peer)
        which = asked.text("stream") or "output"
        if which not in ("output", "error"):
            raise Refused(Refused.INVALID, "cannot read the log: stream must be output or error")
        piece = await self._operations.log(
            peer,
            job_id,
            stream=which,
            offset=asked.integer("offset", 0, -MAX_ID, MAX_ID),
            limit_bytes=asked.integer("limit", LOG_BYTES, 1, LOG_BYTES),
        )
        if asked.flag("follow", False):
            return await follow_log(
                request,
                connection_of(request),
                self._operations,
                peer,
                self._streams,
                job_id,
                which,
                piece,
            )
        return web.Response(body=piece.data, headers=log_headers(piece))

    async def script(self, request: web.Request) -> web.StreamResponse:
        """The script of a job as it was submitted; compressed, as it is kept."""
        Query(request)
        peer = peer_of(request)
        text = await self._operations.script(peer, await self._job_id(request, peer))
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "deflate"}
        return web.Response(body=text, headers=headers)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, from ``Last-Event-ID`` on; ``job`` (repeated) narrows them."""
        asked = Query(request, "job")
        peer = peer_of(request)
        words = asked.words("job")
        jobs = None if words is None else {await self._resolve(peer, word) for word in words}
        last_id = request.headers.get("Last-Event-ID")
        return await follow_events(
            request,
            connection_of(request),
            self._operations.feed,
            self._streams,
            self._limits,
            last_id,
            jobs,
        )

    async def report(self, request: web.Request) -> web.StreamResponse:
        """Sums over ended jobs; ``by`` (repeated): what rows are told apart by."""
        return answer(await self._operations.report(peer_of(request), _report_filter(request)))

    async def estimates(self, request: web.Request) -> web.StreamResponse:
        """How good predicted starts were; parameters as for the report."""
        return answer(await self._operations.estimates(peer_of(request), _report_filter(request)))

    # --- changing ---------------------------------------------------------------------------

    async def update(self, request: web.Request) -> web.StreamResponse:
        """Change fields of one job; null clears."""
        wait = Query(request, "wait").flag("wait", True)
        peer = peer_of(request)
        raw = await read_object(request, self._limits)
        job_id = await self._job_id(request, peer)
        references = {
            reference: await self._operations.resolve(peer, reference)
            for reference in references_of(raw)
        }
        changes = parse_changes(raw, references)
        blobs: dict[str, bytes] = {}
        if changes.get("script") is not None:
            steps = pack(changes["script"].encode(), blobs)
            changes["script"] = await in_steps(steps, Turn())
        return answer(await self._operations.update(peer, job_id, changes, wait=wait, blobs=blobs))

    async def act_on_one(self, request: web.Request) -> web.StreamResponse:
        """cancel, hold, release, … one job."""
        action = _action(request)
        wait = Query(request, "wait").flag("wait", True)
        peer = peer_of(request)
        options = await read_object(request, self._limits)
        conditions_of(options, "signal", "tree")
        number, tree = _signal_of(action, options)
        which = JobFilter(ids=(await self._job_id(request, peer),), ended=True)
        done = await self._operations.act(peer, action, which, wait=wait, signal=number, tree=tree)
        for refusal in done["refused"]:
            raise Refused(refusal["kind"], refusal["message"])
        return answer({"job_ids": done["job_ids"], "durable": done["durable"]})

    async def act_on_many(self, request: web.Request) -> web.StreamResponse:
        """cancel, hold, release, … what a filter in the body says; ``all`` means all of mine."""
        action = _action(request)
        wait = Query(request, "wait").flag("wait", True)
        peer = peer_of(request)
        options = await read_object(request, self._limits)
        conditions = conditions_of(options, "signal", "tree", "all")
        if not conditions and options.get("all") is not True:
            raise Refused(
                Refused.INVALID,
                f"cannot {action} jobs: none is named; name jobs, users, states, names or all",
            )
        number, tree = _signal_of(action, options)
        which = await job_filter(
            conditions, self._resolver(peer), ended="id" in conditions or action == Action.REQUEUE
        )
        done = await self._operations.act(peer, action, which, wait=wait, signal=number, tree=tree)
        return answer(done)

    # --- the service ------------------------------------------------------------------------

    async def status(self, request: web.Request) -> web.StreamResponse:
        """How the supervisor and its processes are."""
        Query(request)
        return answer(await self._operations.status(peer_of(request)))

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Figures for Prometheus."""
        Query(request)
        text = await self._operations.metrics(peer_of(request))
        kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=text.encode(), headers=kind)

    async def ping(self, request: web.Request) -> web.StreamResponse:
        """Whether it answers."""
        Query(request)
        return answer(await self._operations.ping(peer_of(request)))

    async def backup(self, request: web.Request) -> web.StreamResponse:
        """Copy the store to ``path``."""
        options = await self._options(request, "path")
        try:
            path = field.absolute_path(options.get("path"))
        except Invalid as error:
            raise Refused(Refused.INVALID, f"cannot back up: path {error}") from None
        return answer(await self._operations.backup(peer_of(request), path))

    async def check(self, request: web.Request) -> web.StreamResponse:
        """Look over the store."""
        await self._options(request)
        return answer(await self._operations.check(peer_of(request)))

    # --- parts ------------------------------------------------------------------------------

    async def _options(self, request: web.Request, *known: str) -> dict[str, Any]:
        Query(request)
        options = await read_object(request, self._limits)
        conditions_of(options, *known)
        return options

    async def _named(self, peer: Peer) -> Peer:
        """The peer with its name, which somebody may still be asking the name service for."""
        for _ in range(_NAME_LOOKS):
            name = peer.user or self._operations.user_name(peer.uid)
            if name is not None:
                return replace(peer, user=name)
            await asyncio.sleep(_NAME_LOOK_S)
        return peer

    def _resolver(self, peer: Peer) -> Resolve:
        async def resolve(reference: JobReference) -> int:
            if reference.id is not None and reference.task is None:
                return reference.id
            return await self._operations.resolve(peer, reference)

        return resolve

    async def _job_id(self, request: web.Request, peer: Peer) -> int:
        return await self._resolve(peer, request.match_info["job"])

    async def _resolve(self, peer: Peer, word: str) -> int:
        try:
            reference = field.reference(word)
        except Invalid as error:
            raise Refused(Refused.INVALID, f"cannot find the job: its id {error}") from None
        return await self._resolver(peer)(reference)


def _report_filter(request: web.Request) -> ReportFilter:
    asked = Query(request, "by", "since", "before", "user", "project")
    since, before = (
        None if asked.text(key) is None else asked.number(key, 0, 0, 1 << 36)
        for key in ("since", "before")
    )
    return ReportFilter(
        by=tuple(dict.fromkeys(asked.words("by") or ("user",))),
        since=since,
        before=before,
        user=asked.text("user"),
        project=asked.text("project"),
    )


def _action(request: web.Request) -> Action:
    try:
        return Action(request.match_info["action"])
    except ValueError:
        raise web.HTTPNotFound from None


def _signal_of(action: Action, options: dict[str, Any]) -> tuple[int | None, bool]:
    given, tree = options.get("signal"), options.get("tree", False)
    if action is not Action.SIGNAL:
        if given is not None or tree:
            raise Refused(Refused.INVALID, f"cannot {action}: signal and tree belong to signal")
        return None, False
    if not isinstance(tree, bool):
        raise Refused(Refused.INVALID, "cannot signal: tree must be true or false")
    try:
        return parse_signal(str(given)), tree
    except GrammarError as error:
        raise Refused(Refused.INVALID, f"cannot signal: {error}") from None


def _idempotency_key(request: web.Request) -> str | None:
    key: str | None = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
        raise Refused(
            Refused.INVALID, f"cannot use the Idempotency-Key: 1 to {_MAX_KEY} printable characters"
        )
    return key
