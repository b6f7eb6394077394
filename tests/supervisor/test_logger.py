"""The log's pipe never blocks and loses nothing silently."""

from __future__ import annotations

import logging
import os
import socket
from multiprocessing import get_context
from pathlib import Path

from gflow.supervisor import logger
from gflow.supervisor.child import Child


def record(text: str) -> logging.LogRecord:
    """A record as the logging module makes it."""
    return logging.LogRecord("gflow", logging.INFO, "", 0, text, None, None)


def test_full_pipe_drops_and_counts() -> None:
    """With a reader that does not read, emit returns, counts, and tells the number later."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    handler = logger.PipeHandler()
    handler.attach(ours.fileno())
    for _ in range(5000):
        handler.emit(record("x" * 200))
    assert handler.dropped > 0
    theirs.setblocking(False)
    try:
        while theirs.recv(1 << 16):
            pass
    except BlockingIOError:
        pass
    handler.emit(record("later"))
    assert b"lines dropped)" in theirs.recv(1 << 16)
    ours.close()
    theirs.close()


def test_control_characters_are_escaped() -> None:
    """One record is one line, and a terminal that shows it stays as it was."""
    ours, theirs = socket.socketpair()
    handler = logger.PipeHandler()
    handler.attach(ours.fileno())
    handler.emit(record("a\x1b[31mb\nc"))
    line = theirs.recv(4096)
    assert line.count(b"\n") == 1
    assert b"\\x1b[31mb | c" in line
    ours.close()
    theirs.close()


def test_process_writes_lines_and_ends_with_its_pipe(tmp_path: Path) -> None:
    """The real process writes what it is sent, and ends by itself at EOF."""
    path = tmp_path / "supervisor.log"
    child = Child("logger", logger.main, {"path": str(path)})
    child.fork(get_context("fork"))
    assert child.channel is not None
    os.write(child.channel.fileno(), b"2026 INFO one\n2026 INFO two\n")
    child.channel.close()
    assert child.reap() == "exit 0"
    assert path.read_text() == "2026 INFO one\n2026 INFO two\n"


def test_replaced_process_writes_on(tmp_path: Path) -> None:
    """After kill -9 a new one, born by exec, appends to the same file."""
    path = tmp_path / "supervisor.log"
    child = Child("logger", logger.main, {"path": str(path)})
    child.fork(get_context("fork"))
    child.send_signal(9)
    assert child.reap() == "SIGKILL"
    child.replace()
    assert child.channel is not None
    os.write(child.channel.fileno(), b"2026 INFO again\n")
    child.channel.close()
    child.reap()
    assert path.read_text() == "2026 INFO again\n"
    assert child.restarts == 1


def test_a_deleted_log_is_made_again(tmp_path: Path) -> None:
    """What is said afterwards is in a file that people can find."""
    path = tmp_path / "supervisor.log"
    write = logger._to_file(str(path))
    write("one")
    path.unlink()
    write("two")
    assert path.read_text() == "two\n"
