"""Jobs that come from another scheduler, as ``POST /v1/import/jobs`` takes them.

Unlike a spec, such a job says who submitted it, when, what became of it, and which id it has: only
an admin may bring any. What it ran with (``spec``) is a spec without script and environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow.api import field
from gflow.api.field import Invalid
from gflow.api.operations import Peer, Policy, Record
from gflow.api.specification import Parser, checked
from gflow.errors import Refused
from gflow.model.job import Job
from gflow.model.state import TERMINAL, State

Check = Callable[[Any], Any]

#: Ids of others are small; a large one would use up ours.
_ID = field.integer(1, (1 << 32) - 1)
_MOMENT = field.number(0, 1 << 36)
_NAME = field.text(256, empty=False)
_UID = field.integer(0, (1 << 32) - 2)
_STATES = tuple(state.value for state in State if state in TERMINAL or state is State.PENDING)

_FIELDS: dict[str, Check] = {
    "id": _ID,
    "user": _NAME,
    "uid": _UID,
    "gid": _UID,
    "spec": field.mapping,
    "submitted_at": _MOMENT,
    "state": field.choice(*_STATES),
    "hold": field.boolean,
    "started_at": _MOMENT,
    "finished_at": _MOMENT,
    "gpu_ids": field.integers(0, 1023),
    "exit_code": field.integer(0, 255),
    "reason": field.text(1024),
}
_REQUIRED = ("id", "user", "uid", "gid", "spec", "submitted_at", "state")
_LIMITS = ("running_jobs", "running_gpus", "pending_jobs")
_RESERVATION: dict[str, Check] = {
    "id": _ID,
    "user": _NAME,
    "start_at": _MOMENT,
    "duration_s": field.number(1, field.MAX_SECONDS),
    "gpus": field.integer(1, 1024),
    "gpu_ids": field.integers(0, 1023),
    "created_at": _MOMENT,
}


class Arrivals:
    """Reads the jobs of one request. ``own``: (uid, gid) that all jobs run as, None: each its own.

    Raises Refused with one sentence.
    """

    def __init__(self, own: tuple[int, int] | None = None) -> None:
        self._own = own
        self._parsers: dict[tuple[str, int, int], Parser] = {}

    def job(self, raw: object) -> Job:
        """One job: PENDING, or ended."""
        try:
            values = _values(raw, _FIELDS, _REQUIRED)
        except Invalid as error:
            raise Refused(Refused.INVALID, f"cannot import a job: {error}") from None
        job_id, state = values["id"], State(values["state"])
        try:
            return self._job(values, state)
        except (Refused, Invalid) as error:
            cause = str(error).removeprefix("cannot submit job: ")
            raise Refused(Refused.INVALID, f"cannot import job {job_id}: {cause}") from None

    def _job(self, values: dict[str, Any], state: State) -> Job:
        submission = self._parser(values).parse(values["spec"])
        if submission.blobs or submission.spec.array is not None:
            raise Invalid("it has a script, an environment or an array")
        started_at, finished_at = values.get("started_at"), values.get("finished_at")
        if state is State.PENDING:
            started_at = finished_at = None
        elif finished_at is None:
            finished_at = values["submitted_at"] if started_at is None else started_at
        return Job(
            id=values["id"],
            spec=submission.spec,
            submitted_at=values["submitted_at"],
            state=state,
            hold="user" if state is State.PENDING and values.get("hold") else None,
            priority=submission.spec.priority,
            attempt=0 if started_at is None else 1,
            started_at=started_at,
            finished_at=finished_at,
            gpu_ids=values.get("gpu_ids") or (),
            exit_code=values.get("exit_code"),
            reason=values.get("reason"),
        )

    def _parser(self, values: dict[str, Any]) -> Parser:
        uid, gid = self._own or (values["uid"], values["gid"])
        key = (values["user"], uid, gid)
        if key not in self._parsers:
            self._parsers[key] = Parser(Peer(uid, gid, 0, values["user"]))
        return self._parsers[key]


def policy(raw: Record) -> Policy:
    """What else there was: ``{next_id, quotas: [[scope, name, limits]], reservations, use}``.

    ``use`` holds ``[user, gpu-seconds, at]``; a reservation has the keys of ``_RESERVATION``.
    Raises Refused.
    """
    try:
        checks: dict[str, Check] = {
            "next_id": _ID,
            "quotas": _several(_quota),
            "reservations": _several(
                lambda one: _values(one, _RESERVATION, tuple(_RESERVATION)[:5])
            ),
            "use": _several(_use),
        }
        return Policy(**_values(raw, checks, ()))
    except Invalid as error:
        raise Refused(Refused.INVALID, f"cannot import: {error}") from None


def _values(raw: object, checks: dict[str, Check], required: tuple[str, ...]) -> dict[str, Any]:
    values = checked(field.mapping(raw), checks, "request", ignored=frozenset())
    for key in required:
        if key not in values:
            raise Invalid(f"{key} is missing")
    return values


def _several(check: Check) -> Check:
    def checked(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > 100_000:
            raise Invalid("must be a list")
        return tuple(map(check, value))

    return checked


def _triple(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) != 3:
        raise Invalid("must hold lists of three")
    return value


def _quota(value: Any) -> tuple[str, str, dict[str, float]]:
    scope, name, limits = _triple(value)
    field.choice("user", "project", "default_user", "default_project")(scope)
    if scope.startswith("default_") == bool(name):
        raise Invalid("must name a user or project, and a default none")
    given = _values(limits, dict.fromkeys(_LIMITS, field.integer(0, 1 << 32)), ())
    return scope, field.text(256)(name), {key: float(limit) for key, limit in given.items()}


def _use(value: Any) -> tuple[str, float, float]:
    user, gpu_s, at = _triple(value)
    return _NAME(user), field.number(0, 1e15)(gpu_s), _MOMENT(at)
