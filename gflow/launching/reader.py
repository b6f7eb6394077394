"""One-shot readers: what may hang is read by a child that can be killed.

The supervisor touches no user's file and no name service; it asks the launcher, which forks a
reader for each question. A reader is bounded in size and time, and reads as the user on whose
behalf it does.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import stat
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from gflow.launching import privilege
from gflow.launching.protocol import Message
from gflow.process import child

#: Longest slice of a file in one answer.
LARGEST_BYTES = 1 << 20
_LIMIT_S = 5.0
#: Readers at one time; further questions wait.
_AT_ONCE = 8

Send = Callable[[Message, list[bytes | None]], None]


class Readers:
    """The readers of a launcher: forks them, collects their answers, ends those that hang."""

    def __init__(
        self,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        send: Send,
    ) -> None:
        self._watch = watch
        self._unwatch = unwatch
        self._send = send
        self._active: dict[int, _Reader] = {}
        self._waiting: deque[Message] = deque()
        #: Killed ones that have not ended yet.
        self._dying: list[int] = []

    @property
    def deadline_s(self) -> float:
        """Monotonic time at which ``expire`` has something to do; infinite when idle."""
        return min((one.deadline_s for one in self._active.values()), default=float("inf"))

    def ask(self, message: Message) -> None:
        """Answer ``read`` with ``read_result``, sooner or later."""
        self._waiting.append(message)
        self._fork_next()

    def expire(self, now_s: float) -> None:
        """End the readers that took too long, and reap those that have ended since."""
        self._dying = [pid for pid in self._dying if not _reap(pid)]
        for one in [one for one in self._active.values() if one.deadline_s <= now_s]:
            os.kill(one.pid, signal.SIGKILL)
            self._finish(one, {"error": f"not read within {_LIMIT_S:.0f} s", "kind": "timeout"})

    def _fork_next(self) -> None:
        while self._waiting and len(self._active) < _AT_ONCE:
            message = self._waiting.popleft()
            told, tell = os.pipe()
            try:
                pid = os.fork()
            except OSError as error:
                os.close(told)
                os.close(tell)
                self._send(_answer(message, {"error": str(error), "kind": "again"}), [])
                continue
            if pid == 0:
                _read_and_exit(message, tell)
            os.close(tell)
            one = _Reader(message, pid, told, time.monotonic() + _LIMIT_S)
            self._active[told] = one
            self._watch(told, lambda one=one: self._collect(one))  # type: ignore[misc]

    def _collect(self, one: _Reader) -> None:
        data = os.read(one.fd, 1 << 18)
        if data:
            one.data += data
            return
        line, _, content = bytes(one.data).partition(b"\n")
        try:
            result = json.loads(line)
        except ValueError:
            result = {"error": "the reader was killed", "kind": "io"}
        self._finish(one, result, content)

    def _finish(self, one: _Reader, result: Message, content: bytes = b"") -> None:
        del self._active[one.fd]
        self._unwatch(one.fd)
        if not _reap(one.pid):
            self._dying.append(one.pid)
        self._send(_answer(one.message, result), [content])
        self._fork_next()


class _Reader:
    __slots__ = ("data", "deadline_s", "fd", "message", "pid")

    def __init__(self, message: Message, pid: int, fd: int, deadline_s: float) -> None:
        self.message = message
        self.pid = pid
        self.fd = fd
        self.deadline_s = deadline_s
        self.data = bytearray()


def _reap(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def _answer(message: Message, result: Message) -> Message:
    return {"t": "read_result", "id": message["id"], **result}


# --- in the reader --------------------------------------------------------------------------------


def _read_and_exit(message: Message, tell: int) -> NoReturn:
    try:
        child.close_fds_except((0, 1, 2, tell))
        result, content = read(message)
        with os.fdopen(tell, "wb") as file:
            file.write(json.dumps(result).encode() + b"\n" + content)
    finally:
        os._exit(0)


def read(message: Message) -> tuple[Message, bytes]:
    """Answer one question (see ``request.read``); errors become part of the answer."""
    try:
        _drop_privileges(message)
        return _QUESTIONS[message["what"]](message)
    except FileNotFoundError as error:
        return {"error": _sentence(error), "kind": "not_found"}, b""
    except PermissionError as error:
        return {"error": _sentence(error), "kind": "forbidden"}, b""
    except (OSError, ValueError) as error:
        return {"error": _sentence(error), "kind": "io"}, b""


def _sentence(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"cannot read {os.fsdecode(error.filename or '')}: {os.strerror(error.errno)}"
    return str(error)


def _drop_privileges(message: Message) -> None:
    uid = message.get("uid")
    if uid is None or os.getuid() != 0 or uid == 0:
        return
    privilege.become(message["user"], uid, message["gid"])


def _file(message: Message) -> tuple[Message, bytes]:
    """A slice of a regular file. A negative offset counts from its end."""
    limit = min(message.get("limit", LARGEST_BYTES), LARGEST_BYTES)
    fd = os.open(message["path"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return {"error": f"cannot read {message['path']}: not a regular file", "kind": "io"}, b""
    offset = message.get("offset", 0)
    if offset < 0:
        offset = max(0, status.st_size + offset)
    content = bytearray()
    while len(content) < limit:
        part = os.pread(fd, limit - len(content), offset + len(content))
        if not part:
            break
        content += part
    return {"offset": offset, "size": status.st_size, "mtime": status.st_mtime}, bytes(content)


def _stat(message: Message) -> tuple[Message, bytes]:
    status = os.stat(message["path"])
    return {
        "size": status.st_size,
        "mtime": status.st_mtime,
        "mode": status.st_mode,
        "uid": status.st_uid,
        "inode": status.st_ino,
        "folder": stat.S_ISDIR(status.st_mode),
    }, b""


def _user(message: Message) -> tuple[Message, bytes]:
    try:
        entry = pwd.getpwuid(message["uid_asked"])
    except KeyError:
        return {"error": f"no user has uid {message['uid_asked']}", "kind": "not_found"}, b""
    return {
        "name": entry.pw_name,
        "uid": entry.pw_uid,
        "gid": entry.pw_gid,
        "home": entry.pw_dir,
        "shell": entry.pw_shell,
    }, b""


_QUESTIONS: dict[str, Callable[[Message], tuple[Message, Any]]] = {
    "file": _file,
    "stat": _stat,
    "user": _user,
}
