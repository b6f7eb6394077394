"""The supervisor's end of the persister: waiting, giving up, counting what was not saved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from multiprocessing import get_context

import pytest

from gflow.persistence import message
from gflow.persistence.link import Link
from gflow.supervisor import persister_port
from gflow.supervisor.child import Child
from gflow.supervisor.persister_port import PersisterPort
from tests.supervisor import mute

Key = tuple[str, int]


@pytest.fixture
def port() -> Iterator[PersisterPort]:
    """A port whose persister loads and then answers nothing."""
    child = Child("mute", mute.main, {})
    child.fork(get_context("fork"))
    loop = asyncio.new_event_loop()
    made = PersisterPort(child, loop, Link(lambda key: {"id": key[1]}), lambda: None)
    assert list(made.rows()) == []
    made.attach()
    yield made
    made.closing = True
    if child.alive:
        child.send_signal(9)
        child.reap()
    loop.close()


def test_waiting_for_a_commit_ends_with_the_time(port: PersisterPort) -> None:
    """durable answers False when no acknowledgement comes, and nothing is left waiting."""
    position = port.add([("job", 1)])
    assert port.loop.run_until_complete(port.durable(position, 0.05)) is False
    assert port.link.changed == 1


@pytest.mark.parametrize("patient", [False, True])
def test_what_somebody_waits_for_is_sent_at_once(patient: bool) -> None:
    """The rest waits for company, and so does all of it where the disk is spared."""
    child = Child("mute", mute.main, {})
    child.fork(get_context("fork"))
    loop = asyncio.new_event_loop()
    link = Link(lambda key: {"id": key[1]}, gather_s=60.0)
    made = PersisterPort(child, loop, link, lambda: None, patient=patient)
    assert list(made.rows()) == []
    made.attach()
    position = made.add([("job", 1)])
    loop.run_until_complete(asyncio.sleep(0))
    assert link.seq_sent == 0
    assert loop.run_until_complete(made.durable(position, 0.05)) is False
    assert link.seq_sent == (0 if patient else 1)
    made.closing = True
    child.send_signal(9)
    child.reap()
    loop.close()


def test_end_counts_what_was_not_saved(
    port: PersisterPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end that cannot save gives up after the join time and says how many changes are lost."""
    monkeypatch.setattr(persister_port, "_JOIN_S", 0.1)
    port.add([("job", number) for number in range(7)])
    assert port.loop.run_until_complete(port.close()) == 7


def test_status_tells_what_is_owed(port: PersisterPort) -> None:
    """seq_sent runs ahead of seq_durable, changed counts the batch in flight too."""
    port.add([("job", 1), ("job", 2)])
    port.loop.run_until_complete(asyncio.sleep(0))
    told = port.describe()
    assert (told["seq_sent"], told["seq_durable"], told["changed"]) == (1, 0, 2)


def test_a_warning_is_kept_once(port: PersisterPort) -> None:
    """Every persister that takes over says again what it found when it opened the store."""
    for _ in range(2):
        port._handle(message.Opened({"warnings": ["it is on a network file system"]}))
    assert port.warnings == ["it is on a network file system"]
