"""A job's output as it comes: read from the file where we may, through the supervisor elsewhere."""

from __future__ import annotations

import os
import stat
from typing import Any, BinaryIO

from gflow.api.client import Client, Job
from gflow.api.wire import Refusal
from gflow.cli.command import Failure

_READ_BYTES = 256 << 10
#: How often a log that grows is looked at while its job runs.
_LOOK_S = 0.1


def open_log(path: str | None) -> int | None:
    """A descriptor of a regular file that we may read; None when there is none (yet)."""
    if path is None:
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def log_path(record: dict[str, Any], stream: str) -> str | None:
    """Where a job's output is. Raises Failure for a whole array."""
    array = record.get("array")
    if array and array.get("task") is None:
        raise Failure(
            f"job {record['id']} is an array: name a task, such as {record['id']}_{_a_task(array)}"
        )
    path: str | None = record.get(f"{stream}_path")
    return path


def _a_task(array: dict[str, Any]) -> str:
    digits = str(array.get("tasks") or "1").replace(",", "-").split("-")[0]
    return digits if digits.isdigit() else "1"


def follow(
    job: Job, client: Client, out: BinaryIO | None, *, stream: str = "output", offset: int = 0
) -> dict[str, Any]:
    """Copy a job's output until it has ended, and return its record then.

    ``out`` None: wait only. ``offset``: where to begin; negative counts from the end.
    """
    if out is None:
        return client.wait(job)
    path = log_path(client.job(job), stream)
    watch = client.end_watch(job)
    copy = _FileCopy(path, out, offset)
    try:
        while True:
            ended = watch.poll(_LOOK_S)
            moved = copy.step()
            if ended is not None:
                if not copy.opened:
                    _through_supervisor(job, client, out, stream, offset)
                while moved:
                    moved = copy.step()
                return ended
            if copy.denied:
                for piece in client.follow_log(job, stream=stream, offset=offset):
                    write(out, piece)
                return client.wait(job)
    finally:
        watch.close()
        copy.close()


def _through_supervisor(job: Job, client: Client, out: BinaryIO, stream: str, offset: int) -> None:
    try:
        write(out, client.log(job, stream=stream, offset=offset))
    except Refusal:
        pass  # it ended without ever having written


def write(out: BinaryIO, data: bytes) -> None:
    """Write and flush."""
    out.write(data)
    out.flush()


class _FileCopy:
    """Copies what a file has got since the last look; begins anew when it was truncated."""

    def __init__(self, path: str | None, out: BinaryIO, offset: int) -> None:
        self._path = path
        self._out = out
        self._first = offset
        self._at = 0
        self._fd: int | None = None

    @property
    def opened(self) -> bool:
        return self._fd is not None

    @property
    def denied(self) -> bool:
        """The file is there but not for us, or we are never told where it is."""
        if self._fd is not None:
            return False
        return self._path is None or (
            os.path.exists(self._path) and not os.access(self._path, os.R_OK)
        )

    def step(self) -> bool:
        """Copy one piece; False when there was nothing."""
        if self._fd is None:
            self._fd = open_log(self._path)
            if self._fd is None:
                return False
            size = os.fstat(self._fd).st_size
            self._at = max(0, size + self._first) if self._first < 0 else self._first
        data = os.pread(self._fd, _READ_BYTES, self._at)
        if not data:
            if os.fstat(self._fd).st_size < self._at:
                self._at = 0
            return False
        self._at += len(data)
        write(self._out, data)
        return True

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
