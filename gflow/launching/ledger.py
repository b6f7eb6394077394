"""The ledger: which attempts have begun and are not settled, whatever becomes of their run files.

A run file may be deleted, and nothing about it may have been saved yet. Its attempt has begun all
the same, and must not begin again. So every shim writes it down here too, in one file beside the
folder of run files, before the command can run; it is crossed out when its end is durable.

Each line is one write: ``=`` with boot, folder and moment (boot clock) says that nothing is missing
that began later than that; ``+`` an attempt that begins, ``-`` one that is settled. Nothing is
synced: after a power cut what is listed has begun, and what is not may have.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import NamedTuple

from gflow.launching import runfile
from gflow.launching.place import Place

#: (job id, attempt).
Key = tuple[int, int]

#: It is written anew, without what is settled, when it has grown by so much.
_RENEW_BYTES = 256 << 10
_FLAGS = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Entries(NamedTuple):
    """What the ledger says."""

    #: Attempts that have begun, as far as they are not settled.
    begun: set[Key]
    #: Boot clock: what was ordered later, on this boot, and is not listed has never begun. None:
    #: the absence of an attempt proves nothing.
    complete_since_s: float | None

    def rules_out(self, key: Key, ordered_boot_s: float) -> bool:
        """Whether an attempt that was ordered on this boot is proved never to have begun."""
        since_s = self.complete_since_s
        return since_s is not None and since_s <= ordered_boot_s and key not in self.begun


class Ledger:
    """The file of one state folder. Shims append to it while the launcher shortens it."""

    def __init__(self, place: Place) -> None:
        self.path = f"{place.state_dir}/attempts"
        self._place = place
        self._renew_at_bytes = 0

    def begin(self, key: Key) -> None:
        """An attempt begins. Raises OSError."""
        self._append(b"\n+%d.%d\n" % key)

    def settle(self, *keys: Key) -> None:
        """Their ends are known for good, or it is as if they had never begun."""
        try:
            self._append(b"".join(b"\n-%d.%d\n" % key for key in keys))
        except OSError:
            pass  # found once more without a run file: settled again

    def read(self) -> Entries:
        """What it says; nothing is proved by a file that cannot be read."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return Entries(set(), None)
        try:
            return parse(_read_all(fd), self._place)
        except OSError:
            return Entries(set(), None)
        finally:
            os.close(fd)

    def tend(self) -> None:
        """Begin it where it is missing or of another boot or folder; shorten it when it is long."""
        try:
            size_bytes = os.stat(self.path).st_size
        except OSError:
            size_bytes = 0
        if 0 < size_bytes < self._renew_at_bytes:
            return
        try:
            self._renew()
        except OSError:
            pass  # a shim writes just now, or the disk is full: the next time

    def _renew(self) -> None:
        fd = os.open(self.path, os.O_RDWR | _FLAGS, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            data = _read_all(fd)
            entries = parse(data, self._place)
            if entries.complete_since_s is None:
                entries.begun.update(runfile.keys(self._place.runs))  # their lines may be lost
            if entries.complete_since_s is None or len(data) >= self._renew_at_bytes:
                data = compose(entries, self._place, time.clock_gettime(time.CLOCK_BOOTTIME))
                _write(f"{self.path}.new", data)
                os.rename(f"{self.path}.new", self.path)
            self._renew_at_bytes = len(data) + _RENEW_BYTES
        finally:
            os.close(fd)

    def _append(self, line: bytes) -> None:
        while True:
            fd = os.open(self.path, os.O_WRONLY | _FLAGS, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH)
                if not runfile.is_at(fd, self.path):
                    continue  # it was written anew meanwhile
                if os.write(fd, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return
            finally:
                os.close(fd)


def parse(data: bytes, place: Place) -> Entries:
    """What the lines say. What is torn or no line of ours takes away the proof of absence."""
    begun: set[Key] = set()
    since_s, whole = None, not data or data.endswith(b"\n")
    for line in data.split(b"\n"):
        sign, words = line[:1], line[1:].decode("ascii", "replace").split()
        try:
            if sign == b"=":
                boot_id, folder, moment = words
                if boot_id == place.boot_id and folder != place.folder:
                    return Entries(set(), None)  # a copy: those are the attempts of another folder
                if boot_id == place.boot_id:
                    since_s = float(moment)
            elif sign == b"+":
                begun.add(_key(words))
            elif sign == b"-":
                begun.discard(_key(words))
            elif sign:
                whole = False
        except ValueError:
            whole = False
    return Entries(begun, since_s if whole else None)


def compose(entries: Entries, place: Place, now_boot_s: float) -> bytes:
    """The shortest file that says the same; from now on it proves absence again."""
    since_s = now_boot_s if entries.complete_since_s is None else entries.complete_since_s
    lines = [f"={place.boot_id} {place.folder} {since_s!r}"]
    lines += [f"+{job_id}.{attempt}" for job_id, attempt in sorted(entries.begun)]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _key(words: list[str]) -> Key:
    (word,) = words
    job_id, attempt = word.split(".")
    return int(job_id), int(attempt)


def _read_all(fd: int) -> bytes:
    data = b""
    while more := os.read(fd, 1 << 20):
        data += more
    return data


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
    finally:
        os.close(fd)
