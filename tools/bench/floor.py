"""The least that the same work can cost on this machine, measured in the same run."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from tools.bench import sample

TRUE = shutil.which("true") or "/bin/true"
_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def spawn_serial(count: int) -> float:
    """Programs per second, one after the other: posix_spawn(3) of ``true`` and waitpid(2)."""

    def work() -> None:
        for _ in range(count):
            pid = os.posix_spawn(TRUE, ["true"], _ENV)
            os.waitpid(pid, 0)

    return count / sample.timed(work)


def spawn_several(count: int, at_once: int) -> float:
    """Programs per second with ``at_once`` of them alive."""

    def work() -> None:
        alive = 0
        for _ in range(count):
            if alive == at_once:
                os.wait()
                alive -= 1
            os.posix_spawn(TRUE, ["true"], _ENV)
            alive += 1
        for _ in range(alive):
            os.wait()

    return count / sample.timed(work)


def append_and_sync(folder: Path, count: int, size_bytes: int = 700) -> list[float]:
    """Seconds of each append of ``size_bytes`` with its fsync(2)."""
    path = folder / "floor.journal"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    line = b"x" * size_bytes

    def work() -> None:
        os.write(fd, line)
        os.fsync(fd)

    try:
        return sample.repeat(count, work)
    finally:
        os.close(fd)
        os.unlink(path)


def process_table() -> float:
    """Seconds of processor time to read /proc/PID/stat of every process once."""
    began_s = time.thread_time()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                    file.read()
            except OSError:
                continue
    return time.thread_time() - began_s


def interpreter(count: int) -> list[float]:
    """Seconds of each start and end of a Python that does nothing."""
    return sample.repeat(count, lambda: run([sys.executable, "-c", "pass"]))


def run(argv: list[str], env: dict[str, str] | None = None) -> int:
    """Run a program without its output; its exit code."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        pid = os.posix_spawn(
            argv[0],
            argv,
            os.environ if env is None else env,
            file_actions=[(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)],
        )
    finally:
        os.close(null)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def blocking_pipe(messages: int, size_bytes: int, stopped_s: float) -> list[float]:
    """Seconds of each turn of a loop that sends its changes with ``Connection.send_bytes``.

    Its reader is stopped for ``stopped_s`` right at the start; the messages are spread over that
    time. This is what a scheduler does that saves from inside its handlers.
    """
    ours, theirs = multiprocessing.Pipe()
    reader = os.fork()
    if reader == 0:
        ours.close()
        _drain(theirs)
    theirs.close()
    os.kill(reader, signal.SIGSTOP)
    waker = os.fork()
    if waker == 0:
        time.sleep(stopped_s)
        os.kill(reader, signal.SIGCONT)
        os._exit(0)
    frame = b"x" * size_bytes
    turns: list[float] = []
    end_s = time.perf_counter() + stopped_s
    for _ in range(messages):
        turns.append(sample.timed(lambda: ours.send_bytes(frame)))
        time.sleep(max(0.0, min(stopped_s / messages, end_s - time.perf_counter())))
    ours.close()
    for pid in (waker, reader):
        os.waitpid(pid, 0)
    return turns


def _drain(connection: multiprocessing.connection.Connection) -> NoReturn:
    try:
        while True:
            connection.recv_bytes()
    except EOFError:
        os._exit(0)
