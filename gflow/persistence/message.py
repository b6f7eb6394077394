"""What the persister says, as the supervisor gets to see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gflow.errors import Refused
from gflow.model.record import Key, Record


@dataclass(slots=True, frozen=True)
class Opened:
    """The store is open. ``info``: path, filesystem, network, schema, migrated_from, …"""

    info: dict[str, Any]


@dataclass(slots=True, frozen=True)
class OpenRefused:
    """The store cannot be opened; the process exits. ``message`` is a StoreError's sentence."""

    kind: str
    message: str


@dataclass(slots=True, frozen=True)
class Rows:
    """Records streamed at load: meta and facts, arrays and jobs by id, blobs, then ended ones."""

    records: list[tuple[Key, Record]]


@dataclass(slots=True, frozen=True)
class Loaded:
    """All rows were sent. ``info``: id_floor, clean_shutdown, quarantined, array_ended, …"""

    info: dict[str, Any]


@dataclass(slots=True, frozen=True)
class Acked:
    """Every position up to ``durable`` is committed."""

    durable: int


@dataclass(slots=True, frozen=True)
class Trouble:
    """The batch in flight cannot be committed now; the persister retries by itself.

    ``kind``: "no_space", "io", "damaged" or "locked".
    """

    kind: str
    message: str


@dataclass(slots=True, frozen=True)
class Recovered:
    """The trouble is over, the spare space stands again."""


@dataclass(slots=True, frozen=True)
class Resync:
    """The store was opened anew after an error: add every key again, memory is the good copy."""


@dataclass(slots=True, frozen=True)
class SlowCommit:
    """A commit took more than 100 ms."""

    seconds: float
    records: int


@dataclass(slots=True, frozen=True)
class Busy:
    """Long work goes on: a sign of life."""

    what: str


@dataclass(slots=True, frozen=True)
class Quarantined:
    """Damaged rows found after load, set aside in the store: {table, key, reason}."""

    rows: list[dict[str, Any]]


@dataclass(slots=True, frozen=True)
class Noticed:
    """Something for the log that nobody waits for; a lasting one is for ``status`` too."""

    text: str
    lasting: bool = False


@dataclass(slots=True, frozen=True)
class Expired:
    """History rows whose retention ended: their logs may go. Each {id, array_id, task}."""

    jobs: list[dict[str, Any]]

    @property
    def job_ids(self) -> list[int]:
        """Their ids alone."""
        return [job["id"] for job in self.jobs]


@dataclass(slots=True, frozen=True)
class Answer:
    """The whole answer to a query. ``error`` is a sentence, or None; ``kind`` one of Refused's."""

    id: int
    records: list[tuple[Key, Record]]
    value: Any
    error: str | None
    kind: str = Refused.UNAVAILABLE


@dataclass(slots=True, frozen=True)
class Crashed:
    """A programming error ended the process; ``text`` is for the log."""

    text: str


@dataclass(slots=True, frozen=True)
class Closed:
    """The answer to the sentinel: everything is saved, the store is closed, the process exits 0."""


Message = (
    Opened
    | OpenRefused
    | Rows
    | Loaded
    | Acked
    | Trouble
    | Recovered
    | Resync
    | SlowCommit
    | Busy
    | Quarantined
    | Noticed
    | Expired
    | Answer
    | Crashed
    | Closed
)
