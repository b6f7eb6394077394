"""The supervisor's end of the channel to the persister: what is sent next, what an answer means.

No I/O and no clock of its own: the reactor puts ``next_frame`` into a ``Channel`` whenever
something changed or something came back, feeds what it reads into ``receive``, and calls ``lost``
and ``restarted`` when the process died and was replaced. So simulation drives the very same code.

Memory is bounded by one batch and the line of changed keys: records are encoded only when their
batch is formed, so the newest version wins, and there is no queue of messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gflow.errors import Refused
from gflow.model.record import Key, Record
from gflow.persistence import codec, message
from gflow.persistence.backlog import Backlog
from gflow.persistence.batch import Batch
from gflow.persistence.watchdog import Health, Watchdog

#: Queries that may be open at once; each is answered with at most one page.
MAX_QUERIES = 256
#: A timer may fire before its time, by the resolution of the loop's clock.
_EARLY_S = 1e-6


class Link:
    """One batch in flight, everything else in line.

    ``encode`` gives a key's newest record (None deletes it). ``gather_s``: changes wait up to so
    long for company, unless there is a ``flush``; 0 commits as fast as answers return.
    """

    def __init__(
        self,
        encode: Callable[[Key], Record],
        *,
        cap: int = 200_000,
        batch_records: int = 256,
        batch_bytes: int = 65536,
        frame_records: int = 128,
        gather_s: float = 0.0,
    ) -> None:
        self._cap = cap
        self._batch_records = batch_records
        self._gather_s = gather_s
        self._backlog = Backlog()
        self._watchdog = Watchdog()
        self._in_flight: int | None = None
        self._batch = Batch(encode, batch_records, batch_bytes, frame_records)
        self._gathering_since_s: float | None = None
        self._drain_to = 0
        self._mark: tuple[int, float] | None = None
        self._queries: dict[int, list[tuple[Key, Record]]] = {}
        self._unsent_queries: dict[int, tuple[str, dict[str, Any]]] = {}
        self._last_query = 0
        #: Sequence number of the last frame sent, and of the last one known to be committed.
        self.seq_sent = 0
        self.seq_durable = 0
        #: The last trouble the persister told, or why it was lost; None: nothing yet.
        self.last_error: str | None = None

    # --- what the rest of the supervisor asks -----------------------------------------------------

    def __contains__(self, key: Key) -> bool:
        """Whether a change of ``key`` is not durable yet."""
        return key in self._backlog

    @property
    def durable(self) -> int:
        """Every position up to here is committed."""
        return self._backlog.durable

    @property
    def changed(self) -> int:
        """Keys that are not saved yet, those in flight included."""
        return len(self._backlog)

    @property
    def full(self) -> bool:
        """Whether new work must be refused until some of it is saved."""
        return len(self._backlog) >= self._cap

    @property
    def drained(self) -> bool:
        """Nothing is changed and nothing is in flight: the sentinel may go."""
        return not self._backlog and self._in_flight is None

    @property
    def trouble(self) -> str | None:
        """Kind of the trouble that the persister is in ("no_space", "io", …), or None."""
        return self._watchdog.trouble

    @property
    def restarts(self) -> int:
        """How often the process was lost."""
        return self._watchdog.restarts

    def refusal(self) -> str | None:
        """Why new work must be refused now, in words for its submitter; None: it need not be."""
        if self._watchdog.trouble == "no_space":
            return f"cannot save jobs: {self.last_error}"
        if self.full:
            return f"cannot save jobs: {self.changed} changes wait for the disk already"
        return None

    def oldest_unsaved_s(self, now_s: float) -> float:
        """Age of the oldest change that is not durable, at least; 0 when all is saved."""
        self._note_age(now_s)
        return 0.0 if self._mark is None else max(0.0, now_s - self._mark[1] - self._gather_s)

    def health(self, now_s: float) -> Health:
        """The verdict on the persister; STALLED asks to look at the process."""
        return self._watchdog.health(now_s, self.oldest_unsaved_s(now_s))

    def respawn_delay_s(self, now_s: float) -> float:
        """How long to wait before the process is replaced."""
        return self._watchdog.respawn_delay_s(now_s)

    # --- changes and queries ----------------------------------------------------------------------

    def add(self, keys: Iterable[Key], *, atomic: bool = False) -> int:
        """Note changed keys, in order. Returns the position that ``durable`` must reach.

        With ``atomic`` the new ones among them are committed together, whole or not at all.
        """
        return self._backlog.add(keys, atomic=atomic)

    def flush(self) -> None:
        """Gather no longer: what is changed by now goes as fast as answers return."""
        self._drain_to = self._backlog.position

    def query(self, what: str, args: dict[str, Any]) -> int:
        """Ask the store. Returns the id of the Answer to come. Raises Refused: too many wait."""
        if len(self._queries) >= MAX_QUERIES:
            raise Refused(Refused.UNAVAILABLE, "cannot ask the store: too many questions wait")
        self._last_query += 1
        self._queries[self._last_query] = []
        self._unsent_queries[self._last_query] = (what, args)
        return self._last_query

    # --- sending ----------------------------------------------------------------------------------

    def next_frame(self, now_s: float) -> bytes | None:
        """The next frame to send, or None. Call until None after every add, query and receive."""
        for id, (what, args) in self._unsent_queries.items():
            del self._unsent_queries[id]
            return codec.encode_frame("query", id=id, what=what, args=args)
        self._note_age(now_s)
        if self._in_flight is not None or not self._due(now_s):
            return None
        return self._next_batch(now_s)

    def due_at_s(self) -> float | None:
        """When ``next_frame`` should be asked again although nothing happens (gathering)."""
        if self._gathering_since_s is None or self._in_flight is not None:
            return None
        return self._gathering_since_s + self._gather_s

    def sentinel_frame(self) -> bytes:
        """The frame that asks for an orderly end. Only when drained."""
        assert self.drained
        return codec.encode_frame("sentinel")

    def _due(self, now_s: float) -> bool:
        if not self._backlog.waiting:
            return False
        if self._batch.open or not self._gather_s:
            return True
        if self._backlog.durable < self._drain_to or len(self._backlog) >= self._batch_records:
            return True
        if self._gathering_since_s is None:
            self._gathering_since_s = now_s
        if now_s + _EARLY_S < self._gathering_since_s + self._gather_s:
            return False
        self._drain_to = self._backlog.position
        return True

    def _next_batch(self, now_s: float) -> bytes:
        self._gathering_since_s = None
        items = self._batch.frame(self._backlog)
        self.seq_sent += 1
        self._in_flight = self.seq_sent
        self._watchdog.sent(now_s)
        return codec.encode_frame("batch", items, seq=self.seq_sent, more=self._batch.open)

    # --- receiving --------------------------------------------------------------------------------

    def receive(self, frame: bytes, now_s: float) -> list[message.Message]:
        """What one frame from the persister means."""
        type, fields, items = codec.decode_frame(frame)
        self._watchdog.sign(now_s)
        handler = getattr(self, f"_on_{type}")
        found: message.Message | None = handler(fields, items)
        return [] if found is None else [found]

    def _on_opened(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message:
        return message.Opened(fields)

    def _on_refused(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message:
        self.last_error = fields["message"]
        return message.OpenRefused(fields["kind"], fields["message"])

    def _on_rows(self, _: dict[str, Any], items: list[codec.Item]) -> message.Message:
        return message.Rows([(item.key, codec.decode(item)) for item in items])

    def _on_loaded(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message:
        return message.Loaded(fields)

    def _on_ack(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message | None:
        assert fields["seq"] == self._in_flight, "acknowledgement of what was not sent"
        self._in_flight = None
        self._watchdog.acknowledged()
        if not fields["committed"]:
            return None
        self.seq_durable = fields["seq"]
        self._backlog.commit()
        self._batch.reset()
        return message.Acked(self.durable)

    def _on_trouble(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message:
        self._watchdog.trouble = fields["kind"]
        self.last_error = fields["message"]
        return message.Trouble(fields["kind"], fields["message"])

    def _on_recovered(self, _: dict[str, Any], __: list[codec.Item]) -> message.Message:
        self._watchdog.trouble = None
        return message.Recovered()

    def _on_resync(self, _: dict[str, Any], __: list[codec.Item]) -> message.Message:
        self._take_back()
        return message.Resync()

    def _on_slow(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message:
        return message.SlowCommit(fields["seconds"], fields["records"])

    def _on_busy(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message:
        return message.Busy(fields["what"])

    def _on_quarantined(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message:
        return message.Quarantined(fields["rows"])

    def _on_noticed(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message:
        return message.Noticed(fields["text"], fields.get("lasting", False))

    def _on_expired(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message:
        return message.Expired(fields["jobs"])

    def _on_answer(self, fields: dict[str, Any], items: list[codec.Item]) -> message.Message | None:
        records = self._queries[fields["id"]]
        records.extend((item.key, codec.decode(item)) for item in items)
        if fields.get("more"):
            return None
        del self._queries[fields["id"]]
        kind = fields.get("kind", Refused.UNAVAILABLE)
        return message.Answer(fields["id"], records, fields.get("value"), fields.get("error"), kind)

    def _on_crashed(self, fields: dict[str, Any], _: list[codec.Item]) -> message.Message:
        self.last_error = "the persister crashed"
        return message.Crashed(fields["text"])

    def _on_closed(self, _: dict[str, Any], __: list[codec.Item]) -> message.Message:
        return message.Closed()

    # --- death and replacement --------------------------------------------------------------------

    def lost(self, now_s: float) -> list[message.Message]:
        """The process died: what was in flight goes back to the front, open queries fail."""
        self._take_back()
        self._watchdog.died(now_s)
        error = "cannot answer: the persister died and is being replaced; ask again"
        failed: list[message.Message] = [
            message.Answer(id, [], None, error) for id in self._queries
        ]
        self._queries.clear()
        self._unsent_queries.clear()
        return failed

    def restarted(self) -> None:
        """There is a new process, and its channel is empty."""
        self._watchdog.restarted()

    def _take_back(self) -> None:
        self._backlog.revert()
        self._batch.reset()
        self._in_flight = None

    def _note_age(self, now_s: float) -> None:
        """Keep one (position, when): so the age of the oldest change is known without stamps."""
        if self._mark is not None and self._backlog.durable >= self._mark[0]:
            self._mark = None
        if self._mark is None and self._backlog:
            self._mark = (self._backlog.position, now_s)
