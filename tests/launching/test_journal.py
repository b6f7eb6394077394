"""Run files on a full disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gflow.launching import runfile
from gflow.launching.command import CannotStart
from gflow.launching.journal import Journal


def fill(journal: Journal) -> int:
    """From now on the disk is full; what gives the file back."""
    kept = os.dup(journal._fd)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._fd)
    os.close(full)
    return kept


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(str(tmp_path / "1.1"))
    assert made.begin()
    return made


def test_an_attempt_begins_once(journal: Journal, tmp_path: Path) -> None:
    """The second one is told so."""
    assert not Journal(str(tmp_path / "1.1")).begin()


def test_without_a_place_for_the_file_nothing_starts(tmp_path: Path) -> None:
    """And it is tried again later."""
    with pytest.raises(CannotStart) as raised:
        Journal(str(tmp_path / "gone" / "1.1")).begin()
    assert raised.value.transient


def test_what_must_be_written_first_keeps_a_command_from_starting(journal: Journal) -> None:
    """A command that nobody could find again is not started."""
    fill(journal)
    with pytest.raises(CannotStart) as raised:
        journal.claim("spawning", {})
    assert raised.value.transient and "No space left" in str(raised.value)


def test_nothing_starts_whose_run_file_was_deleted(journal: Journal, tmp_path: Path) -> None:
    """Who looked meanwhile found no trace of it, and has given it up."""
    (tmp_path / "1.1").unlink()
    with pytest.raises(CannotStart) as raised:
        journal.claim("spawning", {})
    assert raised.value.transient


def test_an_end_is_written_once_there_is_room(journal: Journal, tmp_path: Path) -> None:
    """A full disk delays it, and loses nothing."""
    kept = fill(journal)
    journal.note("exit", {"exit_code": 3})
    os.dup2(kept, journal._fd)
    journal.finish()
    read = runfile.read(str(tmp_path / "1.1"))
    assert read is not None and read[0].get("exit") == {"phase": "exit", "exit_code": 3}


def test_a_forgotten_end_is_not_waited_for(journal: Journal, tmp_path: Path) -> None:
    """Its file is gone: the store has it."""
    kept = fill(journal)
    journal.note("exit", {"exit_code": 3})
    os.dup2(kept, journal._fd)
    (tmp_path / "1.1").unlink()
    journal.finish()
    assert not (tmp_path / "1.1").exists()


def test_what_is_discarded_can_begin_again(journal: Journal, tmp_path: Path) -> None:
    """The same attempt."""
    journal.discard()
    assert Journal(str(tmp_path / "1.1")).begin()
