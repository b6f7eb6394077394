"""Exits that wait to be synced: for how long, in which order, and at whose cost."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from gflow.launching.arrears import Arrears
from gflow.launching.journal import Journal
from tests.launching.driver import until


class Disk(Journal):
    """A run file on a disk that takes its time; says what is done with it."""

    def __init__(self, name: str, done: list[str]) -> None:
        super().__init__("/nowhere")
        self._name = name
        self._done = done
        self.works = threading.Event()
        self.works.set()

    def is_forgotten(self) -> bool:
        return False

    def sync(self) -> None:
        self.works.wait()
        self._done.append(f"sync {self._name}")

    def close(self) -> None:
        self._done.append(f"close {self._name}")


def test_nothing_is_due_without_arrears() -> None:
    """A shim that owes nothing waits for its command alone."""
    assert Arrears().due_in_s() == float("inf")


def test_an_exit_waits_for_a_moment() -> None:
    """Not synced at once, and not for long."""
    done: list[str] = []
    arrears = Arrears()
    arrears.add(Disk("a", done))
    assert 0 < arrears.due_in_s() < 0.1 and not done
    until(lambda: arrears.due_in_s() == 0)


def test_settled_means_synced_and_closed() -> None:
    """Oldest first, and nothing is due then."""
    done: list[str] = []
    arrears = Arrears()
    arrears.add(Disk("a", done))
    arrears.add(Disk("b", done))
    arrears.settle()
    assert done == ["sync a", "close a", "sync b", "close b"]
    assert arrears.due_in_s() == float("inf")


def test_a_hanging_disk_is_not_waited_for() -> None:
    """What comes meanwhile is settled after it, by the one thread that there is."""
    done: list[str] = []
    arrears = Arrears()
    slow, other = Disk("slow", done), Disk("other", done)
    slow.works.clear()
    arrears.add(slow)
    arrears.settle_aside()
    arrears.add(other)
    arrears.settle_aside()
    assert not done and arrears.due_in_s() == float("inf")
    slow.works.set()
    until(lambda: len(done) == 4)
    assert done == ["sync slow", "close slow", "sync other", "close other"]


def test_settling_waits_for_what_is_under_way() -> None:
    """A shim does not leave before all of its exits are on the disk."""
    done: list[str] = []
    arrears = Arrears()
    slow = Disk("slow", done)
    slow.works.clear()
    arrears.add(slow)
    arrears.settle_aside()
    threading.Timer(0.05, slow.works.set).start()
    arrears.settle()
    assert done == ["sync slow", "close slow"]


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_forgotten_exit_is_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: bool
) -> None:
    """Its run file was deleted because its final record is durable."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    journal = Journal(str(tmp_path / "1.1"))
    assert journal.begin()
    if forgotten:
        (tmp_path / "1.1").unlink()
    arrears = Arrears()
    arrears.add(journal)
    arrears.settle()
    assert len(synced) == (0 if forgotten else 1)


def test_what_is_forgotten_is_let_go_of_without_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oldest first, up to the first that the store does not have yet: no thread is needed."""
    monkeypatch.setattr(os, "fdatasync", pytest.fail)
    arrears, journals = Arrears(), [Journal(str(tmp_path / f"{job}.1")) for job in (1, 2, 3)]
    for journal in journals:
        assert journal.begin()
        arrears.add(journal)
    (tmp_path / "1.1").unlink()
    (tmp_path / "3.1").unlink()
    arrears.release()
    assert [journal._fd >= 0 for journal in journals] == [False, True, True]
