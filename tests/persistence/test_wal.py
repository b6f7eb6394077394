"""Damage in the log that SQLite would take for its end."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from gflow.persistence import wal
from gflow.persistence.wal import Damage
from tests.persistence.harness import job
from tests.persistence.test_opening import open_in
from tests.persistence.test_store import fresh, write

FRAME_BYTES = 24 + 4096


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a store with twenty commits."""
    store = fresh(str(tmp_path / "state.db"))
    for id in range(20):
        write(store, {("job", id): job(id)})
    data = (tmp_path / "state.db-wal").read_bytes()
    store.abandon()
    path = tmp_path / "log"
    path.write_bytes(data)
    return path


def frames(log: Path) -> int:
    """How many frames it has."""
    return (log.stat().st_size - 32) // FRAME_BYTES


def flip(path: Path, place: int) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def test_a_whole_log_is_no_damage(log: Path) -> None:
    """Every checksum is understood as SQLite writes it."""
    assert frames(log) >= 20
    assert wal.inspect(str(log)) is None


def test_no_log_is_no_damage(tmp_path: Path) -> None:
    """After an orderly end there is none."""
    assert wal.inspect(str(tmp_path / "none")) is None


def test_a_damaged_page_with_commits_behind_it_is_told(log: Path) -> None:
    """The frame is named, and how many commits SQLite will ignore."""
    flip(log, 32 + 3 * FRAME_BYTES + 1000)
    damage = wal.inspect(str(log))
    assert damage is not None
    assert damage.frame == 4
    assert damage.ignored_commits >= 10


@pytest.mark.parametrize("place", [2, 9, 17, 27])
def test_a_damaged_frame_header_is_told(log: Path, place: int) -> None:
    """Page number, salts or checksum of a frame: each is enough to stop SQLite."""
    flip(log, 32 + 5 * FRAME_BYTES + place)
    assert wal.inspect(str(log)) is not None


@pytest.mark.parametrize("place", [1, 10, 20, 26])
def test_a_damaged_header_is_told(log: Path, place: int) -> None:
    """With its own header damaged the whole log is ignored."""
    flip(log, place)
    damage = wal.inspect(str(log))
    assert damage is not None and damage.frame == 0
    assert damage.ignored_commits >= 15


def zero(path: Path, start: int, size: int) -> None:
    """As a block that the disk lost."""
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)


def test_a_lost_first_block_is_told(log: Path) -> None:
    """The header is gone and so are the salts of the first frame: the others have them too."""
    zero(log, 0, 4096)
    damage = wal.inspect(str(log))
    assert damage is not None and damage.ignored_commits >= 10


def test_two_commits_behind_a_lost_block_are_told(log: Path) -> None:
    """Their checksums go on from what is lost, but only one of them can have been unfinished."""
    log.write_bytes(log.read_bytes()[: 32 + 8 * FRAME_BYTES])
    zero(log, 32 + 4 * FRAME_BYTES, 100)
    zero(log, 32 + 6 * FRAME_BYTES, 20)
    assert wal.inspect(str(log)) is not None


def test_a_log_that_ends_anywhere_is_normal(log: Path) -> None:
    """Killed while writing, the last frame is half there: nothing acknowledged is in it."""
    data = log.read_bytes()
    dice = random.Random(1)
    for _ in range(20):
        log.write_bytes(data[: dice.randrange(len(data))])
        assert wal.inspect(str(log)) is None


def test_a_damaged_end_is_normal(log: Path) -> None:
    """What is torn at the very end was not synced, so it was not acknowledged."""
    flip(log, log.stat().st_size - 10)
    assert wal.inspect(str(log)) is None


def test_an_earlier_generation_behind_the_end_is_normal(tmp_path: Path) -> None:
    """After a checkpoint the log begins anew over its old frames."""
    store = fresh(str(tmp_path / "state.db"))
    for id in range(20):
        write(store, {("job", id): job(id)})
    store.connection.execute("PRAGMA wal_checkpoint(RESTART)")
    for id in range(3):
        write(store, {("job", 100 + id): job(100 + id)})
    data = (tmp_path / "state.db-wal").read_bytes()
    store.abandon()
    (tmp_path / "log").write_bytes(data)
    assert wal.inspect(str(tmp_path / "log")) is None


def test_random_bytes_are_judged_without_falling_over(tmp_path: Path) -> None:
    """Anything may lie there."""
    for size in (0, 10, 32, 100, 20_000):
        path = tmp_path / "log"
        path.write_bytes(random.Random(size).randbytes(size))
        assert wal.inspect(str(path)) is None or isinstance(wal.inspect(str(path)), Damage)


def test_the_start_tells_and_keeps_the_damaged_log(state_dir: str) -> None:
    """What is lost is never lost silently: a warning names it, and the log is kept."""
    opened = open_in(state_dir)
    for id in range(20):
        write(opened.store, {("job", id): job(id)})
    store, log = Path(f"{state_dir}/state.db"), Path(f"{state_dir}/state.db-wal")
    before, data = store.read_bytes(), bytearray(log.read_bytes())
    opened.store.abandon()
    # As kill -9 would leave it: nothing of the log is in the main file.
    store.write_bytes(before)
    data[32 + 5 * FRAME_BYTES + 500] ^= 1
    log.write_bytes(data)
    again = open_in(state_dir)
    [warning] = again.warnings
    assert "damaged at frame 6" in warning
    [kept] = [name for name in os.listdir(state_dir) if ".damaged-" in name]
    assert kept in warning
    assert Path(f"{state_dir}/{kept}").read_bytes() == bytes(data)
