"""The supervisor's end, against a disk that dies at every boundary."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from gflow.errors import Refused
from gflow.model.record import Key, Record
from gflow.persistence import codec, message
from gflow.persistence.link import MAX_QUERIES, Link
from gflow.persistence.watchdog import Health
from tests.persistence.disk import Disk

BATCH_RECORDS = 5
FRAME_RECORDS = 2
BATCH_BYTES = 200


class Interleavings(RuleBasedStateMachine):
    """Every order of changing, sending, committing, answering and dying."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[Key, dict[str, Any]] = {}
        self.link = Link(
            self.memory.get,
            batch_records=BATCH_RECORDS,
            batch_bytes=BATCH_BYTES,
            frame_records=FRAME_RECORDS,
        )
        self.disk = Disk()
        self.now_s = 0.0
        self.version = 0
        #: Position → the version that each of its keys had.
        self.promised: dict[int, dict[Key, int]] = {}
        #: Keys of requests that made only new keys, in order; and whether they are atomic.
        self.requests: list[tuple[list[Key], bool]] = []

    def _write(self, key: Key, size: int) -> None:
        self.version += 1
        self.memory[key] = {"v": self.version, "pad": "x" * size}

    @rule(keys=st.lists(st.integers(0, 9), min_size=1, max_size=5), size=st.integers(0, 150))
    def change_old_keys(self, keys: list[int], size: int) -> None:
        """An event changes a few of ten keys that change again and again."""
        named: list[Key] = [("use", key) for key in keys]
        for key in named:
            self._write(key, size)
        position = self.link.add(named)
        self.promised[position] = {key: self.memory[key]["v"] for key in named}

    @rule(count=st.integers(1, 10), size=st.integers(0, 150), atomic=st.booleans())
    def request(self, count: int, size: int, atomic: bool) -> None:
        """A request makes new records."""
        keys: list[Key] = [("job", len(self.memory) + n) for n in range(count)]
        for key in keys:
            self._write(key, size)
        position = self.link.add(keys, atomic=atomic)
        self.promised[position] = {key: self.memory[key]["v"] for key in keys}
        self.requests.append((keys, atomic))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def change_a_request(self, data: st.DataObject) -> None:
        """A record of an earlier request changes its state, wherever it is by now."""
        keys, _ = data.draw(st.sampled_from(self.requests))
        key = data.draw(st.sampled_from(keys))
        count = self.memory[key].get("transitions", 0) + 1
        transition: Key = ("transition", key[1], count)
        self._write(key, 10)
        self._write(transition, 10)
        self.memory[key]["transitions"] = count
        position = self.link.add([key, transition])
        self.promised[position] = {one: self.memory[one]["v"] for one in (key, transition)}

    @rule()
    def send(self) -> None:
        """The channel takes what there is to send."""
        self.now_s += 0.1
        while (frame := self.link.next_frame(self.now_s)) is not None:
            self.disk.send(frame)

    @rule()
    def work(self) -> None:
        """The persister handles one frame."""
        self.disk.work()

    @rule()
    def answer(self) -> None:
        """One acknowledgement arrives."""
        if self.disk.outbox:
            self.link.receive(self.disk.outbox.pop(0), self.now_s)

    @rule()
    def die(self) -> None:
        """The persister dies where it stands and is replaced."""
        self.disk.die()
        self.link.lost(self.now_s)
        self.link.restarted()

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        """Behind a durable position stand its versions, or newer ones."""
        for position, versions in self.promised.items():
            if position <= self.link.durable:
                for key, version in versions.items():
                    record = self.disk.committed[key]
                    assert isinstance(record, dict) and record["v"] >= version

    @invariant()
    def lists_are_whole_or_absent(self) -> None:
        """A crash never leaves a part of an atomic request."""
        for keys, atomic in self.requests:
            present = [key in self.disk.committed for key in keys]
            if atomic:
                assert all(present) or not any(present)

    @invariant()
    def requests_keep_their_order(self) -> None:
        """Of an unfinished request, a beginning is there, never a hole."""
        for keys, _ in self.requests:
            present = [key in self.disk.committed for key in keys]
            assert present == sorted(present, reverse=True)

    @invariant()
    def no_transition_is_missing(self) -> None:
        """Whatever a record counts is there with it."""
        for key, record in self.disk.committed.items():
            for n in range(1, record.get("transitions", 0) + 1 if isinstance(record, dict) else 0):
                assert ("transition", key[1], n) in self.disk.committed

    @invariant()
    def memory_is_bounded(self) -> None:
        """A key waits at most once and is in flight at most once; frames keep their bounds."""
        assert self.link.changed <= 2 * len(self.memory)
        along = sum(key[0] == "transition" for key in self.memory)
        assert self.disk.largest_frame <= BATCH_BYTES + (BATCH_RECORDS + along) * 80 + 200

    def teardown(self) -> None:
        """Once nothing disturbs it, the disk ends up equal to memory."""
        self.die()
        while not self.link.drained:
            self.send()
            self.disk.work()
            self.answer()
        assert self.disk.committed == self.memory
        assert self.link.durable >= max(self.promised, default=0)


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def link_of(memory: dict[Key, Record], **options: Any) -> Link:
    """A link over a dictionary."""
    return Link(lambda key: memory.get(key), **options)


def batch(link: Link, now_s: float = 0.0) -> codec.Frame:
    """The next frame, taken apart."""
    frame = link.next_frame(now_s)
    assert frame is not None
    return codec.decode_frame(frame)


def ack(link: Link, frame: codec.Frame, now_s: float = 0.0) -> list[message.Message]:
    """Acknowledge a batch."""
    seq, committed = frame.fields["seq"], not frame.fields["more"]
    return link.receive(codec.encode_frame("ack", seq=seq, committed=committed), now_s)


def test_one_batch_is_in_flight() -> None:
    """While a batch is not answered, nothing more is sent, whatever changes."""
    link = link_of({("use", 1): {"a": 1}, ("use", 2): {"a": 2}})
    link.add([("use", 1)])
    batch(link)
    link.add([("use", 2)])
    assert link.next_frame(0.0) is None


def test_records_are_encoded_when_they_are_sent() -> None:
    """The newest version wins: what changed while it waited is sent once, as it is now."""
    memory: dict[Key, Record] = {("use", 1): {"v": 1}}
    link = link_of(memory)
    link.add([("use", 1)])
    memory[("use", 1)] = {"v": 2}
    link.add([("use", 1)])
    frame = batch(link)
    assert [codec.decode(item) for item in frame.items] == [{"v": 2}]


def test_a_large_record_travels_alone() -> None:
    """A record above the byte bound makes a batch of its own."""
    memory: dict[Key, Record] = {("blob", "h"): b"x" * 1000, ("use", 1): {}, ("use", 2): {}}
    link = link_of(memory, batch_bytes=100)
    link.add([("use", 1), ("blob", "h"), ("use", 2)])
    sizes = []
    while (data := link.next_frame(0.0)) is not None:
        frame = codec.decode_frame(data)
        sizes.append(len(frame.items))
        ack(link, frame)
    assert sizes == [1, 1, 1]


def test_a_key_without_record_is_a_deletion() -> None:
    """What memory no longer has is deleted in the store."""
    link = link_of({})
    link.add([("reservation", 1)])
    assert batch(link).items == [codec.Item(("reservation", 1), 0, None)]


def test_a_blob_that_memory_dropped_is_not_deleted() -> None:
    """History may name it still: only the store's own housekeeping lets go of blobs."""
    link = link_of({("use", 1): {}})
    position = link.add([("blob", "h"), ("use", 1)])
    frame = batch(link)
    assert [item.key for item in frame.items] == [("use", 1)]
    ack(link, frame)
    assert link.durable == position


def test_new_work_is_refused_past_the_cap() -> None:
    """With as many changes as the cap allows the link is full, and says why."""
    link = link_of({}, cap=3)
    link.add([("use", n) for n in range(3)])
    assert link.full
    assert link.refusal() == "cannot save jobs: 3 changes wait for the disk already"


def test_batches_in_flight_count_as_changed() -> None:
    """``changed`` counts what was sent and not answered."""
    link = link_of({})
    link.add([("use", 1)])
    frame = batch(link)
    assert link.changed == 1
    ack(link, frame)
    assert link.changed == 0


def test_relaxed_durability_gathers() -> None:
    """With a gathering time, a first change waits so long for company."""
    link = link_of({}, gather_s=2.0)
    link.add([("use", 1)])
    assert link.next_frame(10.0) is None
    assert link.due_at_s() == 12.0
    link.add([("use", 2)])
    assert len(batch(link, 12.0).items) == 2


def test_a_flush_ends_the_gathering() -> None:
    """At the end nothing waits for company."""
    link = link_of({}, gather_s=60.0)
    link.add([("use", 1)])
    link.flush()
    assert len(batch(link).items) == 1


def test_nothing_is_due_after_a_flush_while_changes_gathered() -> None:
    """Who asks when to ask again is not told a moment that is over, again and again."""
    link = link_of({}, gather_s=2.0)
    link.add([("use", 1)])
    assert link.next_frame(10.0) is None
    link.flush()
    ack(link, batch(link, 10.5), 11.0)
    assert link.next_frame(11.0) is None
    assert link.due_at_s() is None


def test_a_batch_older_than_two_seconds_lags() -> None:
    """The verdict is lagging from 2 s on, and ok again after the answer."""
    link = link_of({})
    link.add([("use", 1)])
    frame = batch(link, 0.0)
    assert link.health(1.9) is Health.OK
    assert link.health(2.0) is Health.LAGGING
    ack(link, frame, 3.0)
    assert link.health(3.0) is Health.OK


def test_silence_of_ten_seconds_is_a_stall() -> None:
    """From 10 s on without a sign of life the process must be looked at."""
    link = link_of({})
    link.add([("use", 1)])
    batch(link, 0.0)
    assert link.health(10.0) is Health.STALLED


def test_busy_counts_as_life() -> None:
    """A persister that tells it is busy lags, but is not stalled."""
    link = link_of({})
    link.add([("use", 1)])
    batch(link, 0.0)
    link.receive(codec.encode_frame("busy", what="backup"), 9.0)
    assert link.health(18.0) is Health.LAGGING


def test_five_deaths_without_an_answer_degrade() -> None:
    """Five deaths in 60 s with no acknowledgement between them are told loudly."""
    link = link_of({})
    link.add([("use", 1)])
    for death in range(5):
        link.oldest_unsaved_s(float(death))
        link.lost(float(death))
        link.restarted()
    assert link.health(5.0) is Health.DEGRADED


def test_nothing_owed_is_no_degradation() -> None:
    """A persister that lives again and has nothing to save is well, though nothing was answered."""
    link = link_of({})
    for death in range(5):
        link.lost(float(death))
        assert link.health(float(death)) is (Health.DEGRADED if death == 4 else Health.OK)
        link.restarted()
    assert link.health(5.0) is Health.OK


def test_degradation_ends_with_an_answer() -> None:
    """The first acknowledgement after deaths makes it well again."""
    link = link_of({})
    for death in range(5):
        link.lost(float(death))
        link.restarted()
    link.add([("use", 1)])
    ack(link, batch(link, 5.0), 5.0)
    assert link.health(5.0) is Health.OK


def test_respawning_backs_off() -> None:
    """The first replacement comes at once, later ones wait longer and longer, up to 5 s."""
    link = link_of({})
    delays = []
    for death in range(12):
        link.lost(float(death))
        delays.append(link.respawn_delay_s(float(death)))
    assert delays[0] == 0.0
    assert delays == sorted(delays)
    assert delays[-1] == 5.0


def test_a_full_disk_refuses_new_work() -> None:
    """From the first word of it until recovery, submissions are refused with the reason."""
    link = link_of({})
    link.receive(
        codec.encode_frame("trouble", seq=0, kind="no_space", message="no space left"), 0.0
    )
    assert link.refusal() == "cannot save jobs: no space left"
    assert link.health(0.0) is Health.DEGRADED
    link.receive(codec.encode_frame("recovered"), 1.0)
    assert link.refusal() is None


def test_resync_takes_the_batch_back() -> None:
    """After an I/O error the batch in flight is not durable and will be sent again."""
    link = link_of({("use", 1): {}})
    position = link.add([("use", 1)])
    batch(link)
    assert link.receive(codec.encode_frame("resync"), 0.0) == [message.Resync()]
    assert link.durable < position
    assert [item.key for item in batch(link).items] == [("use", 1)]


def test_answers_are_whole() -> None:
    """Pieces of an answer are gathered; the supervisor gets one."""
    link = link_of({})
    id = link.query("job", {"id": 1})
    link.next_frame(0.0)
    item = codec.encode(("job", 1), {"a": 1})
    assert link.receive(codec.encode_frame("answer", [item], id=id, more=True), 0.0) == []
    [answer] = link.receive(codec.encode_frame("answer", [item], id=id, value=5), 0.0)
    assert isinstance(answer, message.Answer)
    assert (len(answer.records), answer.value) == (2, 5)


def test_questions_are_bounded() -> None:
    """Past the bound a question is refused instead of piling up."""
    link = link_of({})
    for _ in range(MAX_QUERIES):
        link.query("info", {})
    with pytest.raises(Refused):
        link.query("info", {})


def test_the_age_of_the_oldest_change_is_told() -> None:
    """Ages count from when a change was first seen waiting, and end when it is durable."""
    link = link_of({})
    link.add([("use", 1)])
    frame = batch(link, 100.0)
    assert link.oldest_unsaved_s(107.0) == 7.0
    ack(link, frame, 107.0)
    assert link.oldest_unsaved_s(107.0) == 0.0


def test_two_hundred_thousand_changes_drain() -> None:
    """Every key of a long line is sent once, in order."""
    keys: list[Key] = [("job", n) for n in range(200_000)]
    link = link_of({})
    link.add(keys)
    sent: list[Key] = []
    while (data := link.next_frame(0.0)) is not None:
        frame = codec.decode_frame(data)
        sent.extend(item.key for item in frame.items)
        ack(link, frame)
    assert sent == keys


def test_batches_grow_behind_a_long_line() -> None:
    """A slow disk counts commits: the more waits, the more of it goes into one."""
    link = link_of({}, batch_records=10, frame_records=10)
    link.add([("use", n) for n in range(1000)])
    size = 0
    while True:
        frame = batch(link)
        size += len(frame.items)
        ack(link, frame)
        if not frame.fields["more"]:
            break
    assert size == 80


def test_a_batch_is_cut_into_frames() -> None:
    """Frames are small, so that none takes long to make; the transaction is as large as may be."""
    link = link_of({}, batch_records=100, frame_records=40)
    link.add([("use", n) for n in range(150)])
    shapes = []
    while (data := link.next_frame(0.0)) is not None:
        frame = codec.decode_frame(data)
        shapes.append((len(frame.items), frame.fields["more"]))
        ack(link, frame)
    assert shapes == [(40, True), (40, True), (20, False), (40, True), (10, False)]
