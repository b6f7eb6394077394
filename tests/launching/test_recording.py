"""What a terminal shows, on its way to a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gflow.launching.recording import Recording


def record(path: Path, *pieces: bytes) -> bytes:
    """What is in the file after these pieces."""
    recording = Recording(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    for piece in pieces:
        recording.write(piece)
    recording.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([b"a\r\nb\r\n"], b"a\nb\n"),
        ([b"a\r", b"\nb"], b"a\nb"),
        ([b"10%\r20%\r\n"], b"10%\r20%\n"),
        ([b"a\r"], b"a\r"),
        ([b"\r", b"\r", b"\n"], b"\r\n"),
    ],
)
def test_lines_end_as_in_a_text_file(tmp_path: Path, pieces: list[bytes], text: bytes) -> None:
    """The carriage return before a newline is the terminal's; any other is the job's."""
    assert record(tmp_path / "log", *pieces) == text


def test_no_more_is_written_than_the_job_may(tmp_path: Path) -> None:
    """--max-output holds on a terminal too; the rest is dropped and counted."""
    path = tmp_path / "log"
    recording = Recording(os.open(path, os.O_WRONLY | os.O_CREAT), 4)
    for _ in range(3):
        recording.write(b"ab\r\n")
    recording.close()
    assert path.read_bytes() == (
        b"ab\na\n--- gflow: output is cut off here, at 4 bytes ---\n"
        b"--- gflow: 5 bytes more were dropped ---\n"
    )


def test_a_slow_reader_is_not_waited_for(tmp_path: Path) -> None:
    """What a full FIFO does not take stays until it takes more."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    recording = Recording(os.open(path, os.O_WRONLY))
    data = b"x" * (1 << 20)
    recording.write(data)
    assert recording.is_full
    got = b""
    while recording.is_full:
        got += os.read(reader, 1 << 16)
        recording.flush()
    recording.close()
    while piece := os.read(reader, 1 << 16):
        got += piece
    os.close(reader)
    assert got == data


def test_a_file_that_takes_nothing_holds_nobody_up(tmp_path: Path) -> None:
    """What a full disk does not take is lost, and the next piece is tried again."""
    recording = Recording(os.open("/dev/full", os.O_WRONLY))
    recording.write(b"lost")
    assert not recording.is_full
    recording.close()
