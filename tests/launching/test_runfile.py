"""Run files: what is written is read, and what is not whole is not believed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.launching import prctl, runfile

NAME = "1.1"
FACTS = st.dictionaries(
    st.sampled_from(["a", "b", "message"]),
    st.none() | st.integers() | st.text() | st.booleans(),
)
LINES = st.lists(st.tuples(st.sampled_from(["starting", "started", "exit"]), FACTS), min_size=1)


def written(lines: list[tuple[str, dict[str, object]]], name: str = NAME) -> bytes:
    """The bytes of a run file with these lines."""
    readable, writable = os.pipe()
    try:
        for phase, facts in lines:
            runfile.append(writable, name, phase, facts)
        os.close(writable)
        data = b""
        while part := os.read(readable, 65536):
            data += part
        return data
    finally:
        os.close(readable)


@given(LINES)
def test_what_is_written_is_read(lines: list[tuple[str, dict[str, object]]]) -> None:
    """The newest line of each phase comes back as it was."""
    contents = runfile.parse(written(lines), NAME)
    expected = {phase: {"phase": phase, **facts} for phase, facts in lines}
    assert (contents.phases, contents.damaged) == (expected, False)


@given(LINES, st.data())
def test_a_torn_last_line_is_as_if_never_written(
    lines: list[tuple[str, dict[str, object]]], data: st.DataObject
) -> None:
    """A crash in the middle of a write costs that line alone."""
    before = written(lines)
    last = written([("exit", {"exit_code": 0})])
    cut = data.draw(st.integers(0, len(last) - 1))
    assert runfile.parse(before + last[:cut], NAME).phases == runfile.parse(before, NAME).phases


@given(LINES, st.data())
def test_a_flipped_bit_is_noticed(
    lines: list[tuple[str, dict[str, object]]], data: st.DataObject
) -> None:
    """No changed line is believed; the worst is that it is missing."""
    intact = written(lines)
    position = data.draw(st.integers(0, len(intact) - 1))
    damaged = bytearray(intact)
    damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    said = list(runfile.parse(intact, NAME).phases.values())
    said += [{"phase": phase, **facts} for phase, facts in lines]
    assert all(facts in said for facts in runfile.parse(bytes(damaged), NAME).phases.values())


@given(st.binary())
def test_any_bytes_can_be_parsed(data: bytes) -> None:
    """Garbage is damage, not an error."""
    contents = runfile.parse(data, NAME)
    assert contents.damaged or contents.phases


def test_garbage_does_not_hide_the_next_line() -> None:
    """A line begins on a line of its own whatever stands before it."""
    contents = runfile.parse(b"garbage" + written([("exit", {"exit_code": 3})]), NAME)
    assert contents.get("exit") == {"phase": "exit", "exit_code": 3}
    assert contents.damaged


@given(LINES, LINES)
def test_lines_of_another_attempt_are_not_believed(
    own: list[tuple[str, dict[str, object]]], others: list[tuple[str, dict[str, object]]]
) -> None:
    """A file is used again; after a power cut what it held before may be there once more."""
    before = written(others, "1.2")
    assert not runfile.parse(before, NAME).phases
    contents = runfile.parse(written(own) + before, NAME)
    assert contents.phases == runfile.parse(written(own), NAME).phases and contents.damaged


def test_an_empty_file_is_damaged() -> None:
    """A shim writes its first line before anything can happen: an empty file was emptied."""
    assert runfile.parse(b"", NAME).damaged


def test_a_run_file_is_made_once(tmp_path: Path) -> None:
    """The second attempt to begin the same attempt fails."""
    path = str(tmp_path / "1.1")
    runfile.create(path)
    with pytest.raises(FileExistsError):
        runfile.create(path)


def spare(tmp_path: Path) -> str:
    """A file that held the lines of another attempt."""
    path = tmp_path / "7.1"
    path.write_bytes(written([("exit", {"exit_code": 0})], "7.1"))
    return str(path)


def test_a_run_file_is_never_seen_without_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty and unlocked, it would look like an attempt that is lost."""
    path = tmp_path / "7.1"
    locked = []

    def lock(fd: int, operation: int) -> None:
        locked.append(path.exists())
        fcntl.flock(fd, operation)

    monkeypatch.setattr(runfile, "fcntl", SimpleNamespace(**{**vars(fcntl), "flock": lock}))
    os.close(runfile.create(str(path)))
    assert locked == [False]
    assert path.exists()
    assert os.listdir(tmp_path / runfile.SPARES) == []


def test_a_spare_file_becomes_a_run_file(tmp_path: Path) -> None:
    """The same inode, locked and without a word under its new name."""
    old, path = spare(tmp_path), tmp_path / "1.1"
    number = os.stat(old).st_ino
    runfile.create(str(path), old)
    assert (path.stat().st_ino, path.read_bytes().strip(b"\0")) == (number, b"")
    assert runfile.holder(str(path)) == os.getpid() and not os.path.exists(old)


def test_a_spare_file_keeps_its_length(tmp_path: Path) -> None:
    """Cutting it off could make a start wait for the disk; what is behind the lines is not read."""
    old, path = spare(tmp_path), tmp_path / "1.1"
    Path(old).write_bytes(written([("starting", {"title": "x" * 500}), ("exit", {})], "2.1"))
    size_bytes = os.stat(old).st_size
    fd = runfile.create(str(path), old)
    runfile.append(fd, "1.1", "starting", {"title": "y"})
    read = runfile.read(str(path))
    assert path.stat().st_size == size_bytes and read is not None
    assert (list(read[0].phases), read[0].damaged) == (["starting"], False)


def test_a_long_spare_file_is_cut_off(tmp_path: Path) -> None:
    """One large job's record is not carried from file to file."""
    old, path = spare(tmp_path), tmp_path / "1.1"
    Path(old).write_bytes(b"x" * 100_000)
    runfile.create(str(path), old)
    assert path.read_bytes() == b""


def test_a_follower_writes_behind_the_last_line(tmp_path: Path) -> None:
    """Wherever the file ends: it may be longer than what the attempt has written."""
    old, path = spare(tmp_path), tmp_path / "1.1"
    Path(old).write_bytes(b"x" * 1000)
    fd = runfile.create(str(path), old)
    runfile.append(fd, "1.1", "starting", {})
    os.close(fd)
    taken = runfile.reopen(str(path))
    assert taken is not None
    runfile.append(taken, "1.1", "following", {})
    read = runfile.read(str(path))
    assert read is not None and list(read[0].phases) == ["starting", "following"]
    assert not read[0].damaged


def test_an_attempt_begins_once_with_a_spare_file_too(tmp_path: Path) -> None:
    """What the first one has written stays as it is."""
    old, path = spare(tmp_path), tmp_path / "1.1"
    path.write_bytes(b"of the first")
    with pytest.raises(FileExistsError):
        runfile.create(str(path), old)
    assert path.read_bytes() == b"of the first"


def test_a_spare_file_that_is_held_is_left_alone(tmp_path: Path) -> None:
    """The shim of an earlier attempt is about to make it last: a new one is made."""
    old, path = spare(tmp_path), tmp_path / "1.1"
    before = Path(old).read_bytes()
    holder = runfile.reopen(old)
    runfile.create(str(path), old)
    assert Path(old).read_bytes() == before and path.exists() and holder is not None


def test_a_spare_file_that_went_to_another_attempt_is_not_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two launchers gave it away; the other attempt began and ended while this shim had it open."""
    old, other = spare(tmp_path), tmp_path / "2.1"
    lines = written([("exit", {"exit_code": 3})], "2.1")

    def others_had_it(fd: int, how: int) -> None:
        os.rename(old, other)
        other.write_bytes(lines)
        fcntl.flock(fd, how)

    monkeypatch.setattr(runfile, "fcntl", _Fcntl(others_had_it))
    runfile.create(str(tmp_path / "1.1"), old)
    assert other.read_bytes() == lines and (tmp_path / "1.1").read_bytes() == b""


def test_a_spare_file_that_cannot_be_renamed_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every file system can rename exclusively: nothing piles up, and a new file is made."""

    def cannot(source: str, target: str) -> None:
        raise OSError(22, "Invalid argument")

    old, path = spare(tmp_path), tmp_path / "1.1"
    monkeypatch.setattr(prctl, "rename_exclusively", cannot)
    runfile.create(str(path), old)
    assert path.exists() and not os.path.exists(old)


class _Fcntl:
    """The module, with something that happens before the first lock is taken."""

    LOCK_EX, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_NB

    def __init__(self, first: Callable[[int, int], None]) -> None:
        self._first: Callable[[int, int], None] | None = first

    def flock(self, fd: int, how: int) -> None:
        first, self._first = self._first, None
        (first or fcntl.flock)(fd, how)


def test_the_lock_is_the_sign_of_life(tmp_path: Path) -> None:
    """It is seen as long as the maker has the file open, and names the maker."""
    path = str(tmp_path / "1.1")
    fd = runfile.create(path)
    runfile.append(fd, NAME, "starting", {})
    read = runfile.read(path)
    assert read is not None and read[1] and runfile.holder(path) == os.getpid()
    os.close(fd)
    read = runfile.read(path)
    assert read is not None and not read[1] and runfile.holder(path) is None


def test_a_living_shims_file_is_not_taken_over(tmp_path: Path) -> None:
    """A follower gets the file only when nobody holds it."""
    path = str(tmp_path / "1.1")
    fd = runfile.create(path)
    assert runfile.reopen(path) is None
    os.close(fd)
    taken = runfile.reopen(path)
    assert taken is not None
    fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A run file that is a link was not made by us: nothing in it counts."""
    (tmp_path / "other").write_bytes(written([("exit", {"exit_code": 0})]))
    (tmp_path / "1.1").symlink_to(tmp_path / "other")
    read = runfile.read(str(tmp_path / "1.1"))
    assert read is not None and read[0].damaged and not read[0].phases


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    """There is nothing to say about it."""
    assert runfile.read(str(tmp_path / "1.1")) is None
