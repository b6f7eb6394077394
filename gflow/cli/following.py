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
    """Where a job's output is; None for errors that go with it. Failure for a whole array."""
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
    job: Job, client: Client, out: BinaryIO, *, stream: str = "output", offset: int = 0
) -> dict[str, Any]:
    """Copy a job's log until it has ended, and return its record then.

    ``offset``: where to begin; negative counts from the end.
    """
    copy = _Copy(log_path(client.job(job), stream), out, stream, offset)
    return _follow(job, client, [copy])


def follow_new(
    job: Job, client: Client, out: BinaryIO, err: BinaryIO, *, offset: int = 0
) -> dict[str, Any]:
    """The same for a job just submitted, its errors apart if they go elsewhere.

    Its files may still hold what an earlier job wrote: nothing is read before the command has
    begun, and so has opened them.
    """
    record = client.job(job)
    copies = [_Copy(log_path(record, "output"), out, "output", offset)]
    if log_path(record, "error") not in (None, copies[0].path):
        copies.append(_Copy(log_path(record, "error"), err, "error", 0))
    if any(copy.path is not None and os.path.exists(copy.path) for copy in copies):
        _await_begin(job, client, record)
    return _follow(job, client, copies)


def _await_begin(job: Job, client: Client, record: dict[str, Any]) -> None:
    watch = client.end_watch(job)
    try:
        while not record.get("pid") and watch.poll(_LOOK_S) is None:
            record = client.job(job)
    finally:
        watch.close()


def _follow(job: Job, client: Client, copies: list[_Copy]) -> dict[str, Any]:
    watch = client.end_watch(job)
    try:
        while True:
            ended = watch.poll(_LOOK_S)
            for copy in copies:
                copy.step()
            if ended is not None:
                for copy in copies:
                    copy.finish(job, client)
                return ended
            for copy in copies:
                if copy.denied:
                    copy.follow_elsewhere(job, client)
    finally:
        watch.close()
        for copy in copies:
            copy.close()


def write(out: BinaryIO, data: bytes) -> None:
    """Write and flush."""
    out.write(data)
    out.flush()


class _Copy:
    """Copies what a file has got since the last look; begins anew when it was truncated."""

    def __init__(self, path: str | None, out: BinaryIO, stream: str, offset: int) -> None:
        self.path = path
        self._out = out
        self._stream = stream
        self._first = offset
        self._at = 0
        self._fd: int | None = None
        self._finished = False

    @property
    def denied(self) -> bool:
        """The file is there but not for us, or we are never told where it is."""
        if self._fd is not None or self._finished:
            return False
        return self.path is None or (
            os.path.exists(self.path) and not os.access(self.path, os.R_OK)
        )

    def step(self) -> bool:
        """Copy one piece; False when there was nothing."""
        if self._fd is None:
            self._fd = open_log(self.path)
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

    def finish(self, job: Job, client: Client) -> None:
        """Copy the rest, now that nothing follows."""
        while self.step():
            pass
        if self._fd is None and not self._finished:
            try:
                write(self._out, client.log(job, stream=self._stream, offset=self._first))
            except Refusal:
                pass  # it ended without ever having written

    def follow_elsewhere(self, job: Job, client: Client) -> None:
        """Let the supervisor read it for us, to the job's end."""
        for piece in client.follow_log(job, stream=self._stream, offset=self._first):
            write(self._out, piece)
        self._finished = True

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
