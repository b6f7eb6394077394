"""The reference model: what may be true of jobs whose scheduler is being tortured.

It knows what was asked and what was answered, and nothing of how gflow works. ``differences`` says
in sentences where the records, or what the jobs themselves left behind, are outside of that.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Record = dict[str, Any]


class Submission:
    """One request: ``count`` jobs that all exit with ``code``, whole or absent."""

    def __init__(self, token: str, count: int, code: int) -> None:
        self.token = token
        self.count = count
        self.code = code
        #: Ids of the answer; None: there was none, so it may have been taken or not.
        self.ids: list[int] | None = None
        #: The answer said that it is durable: it must never be lost.
        self.durable = False


class Reference:
    """Everything that was asked so far, over all rounds. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._submissions: dict[str, Submission] = {}
        self._cancels: set[int] = set()
        #: Which submission an id was seen with first.
        self._owners: dict[int, str] = {}

    # --- what happens ---------------------------------------------------------------------------

    def asks(self, submission: Submission) -> None:
        """A request is about to be sent; jobs carry its token as their name."""
        with self._lock:
            self._submissions[submission.token] = submission

    def answered(self, token: str, ids: Sequence[int], *, durable: bool) -> None:
        """An answer came (perhaps to the same request, asked again)."""
        with self._lock:
            submission = self._submissions[token]
            submission.ids = list(ids)
            submission.durable = submission.durable or durable

    def cancels(self, job_id: int) -> None:
        """Somebody asks for the end of a job; whether it was done is known from its record."""
        with self._lock:
            self._cancels.add(job_id)

    def some_ids(self) -> list[int]:
        """Ids that were answered, latest last."""
        with self._lock:
            return [id for one in self._submissions.values() for id in one.ids or ()]

    @property
    def acknowledged(self) -> int:
        """Jobs that must never be lost."""
        with self._lock:
            return sum(one.count for one in self._submissions.values() if one.durable)

    # --- what must be ---------------------------------------------------------------------------

    def differences(self, records: Mapping[int, Record], starts: Mapping[int, int]) -> list[str]:
        """What is wrong with the records of all jobs, now that everything has ended.

        ``starts``: how often each job's command began, as the command itself has noted.
        """
        with self._lock:
            return [
                *self._lost(records),
                *self._multiplied(records),
                *(d for record in records.values() for d in self._of_job(record, starts)),
                *(f"job {id} ran and has no record" for id in starts if id not in records),
            ]

    def _lost(self, records: Mapping[int, Record]) -> Iterator[str]:
        for one in self._submissions.values():
            if not one.durable:
                continue
            for job_id in one.ids or ():
                found = records.get(job_id)
                if found is None:
                    yield f"job {job_id} ({one.token}) was acknowledged and is lost"
                elif found["name"] != one.token:
                    yield f"id {job_id} was given to {one.token} and to {found['name']}"

    def _multiplied(self, records: Mapping[int, Record]) -> Iterator[str]:
        found = Counter(record["name"] for record in records.values())
        for token, count in found.items():
            wanted = self._submissions[token].count if token in self._submissions else 0
            if count != wanted:
                yield f"{token} has {count} jobs, {wanted} were asked for"

    def _of_job(self, record: Record, starts: Mapping[int, int]) -> Iterator[str]:
        job_id, state, token = record["id"], record["state"], record["name"]
        begun = starts.get(job_id, 0)
        if self._owners.setdefault(job_id, token) != token:
            yield f"id {job_id} was {self._owners[job_id]} and is {token}"
        if begun > 1:
            yield f"job {job_id} was started {begun} times"
        code = self._submissions[token].code if token in self._submissions else None
        if state in ("COMPLETED", "FAILED"):
            if (record["exit_code"], begun) != (code, 1):
                yield f"job {job_id} is {state} with {record['exit_code']}, not {code}"
            if (state == "COMPLETED") != (code == 0):
                yield f"job {job_id} is {state} with exit code {code}"
        elif state == "CANCELLED":
            if job_id not in self._cancels:
                yield f"job {job_id} is CANCELLED and nobody asked for it"
        else:
            yield f"job {job_id} is {state}: {record['reason']}"
