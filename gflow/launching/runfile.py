"""The run file of an attempt: what is known of it without any of our processes.

Lines are written by the shim alone, one behind the other, in this order. Each has a CRC32 over the
file's name and itself: a file may have been another attempt's before, and after a power cut its
lines may be there again. Zeros behind the last line are no part of it: a file that is used again
keeps its length.

=============  =====================================================================================
``starting``   the job's record, identity of the shim, boot, machine and folder
``spawning``   from here on the command may have run
``started``    identity of the command; or ``failed``: it did not come to exec
``exit``       how the command ended (synced)
``gone``       nothing of the attempt is left
=============  =====================================================================================

When a shim was killed its follower adds ``following`` and at the end ``lost`` or ``gone``. The
holder of the file's flock is alive; nobody else ever takes it exclusively.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
import zlib
from typing import Any

from gflow.launching import prctl, protocol
from gflow.launching.cgroup import Group

Facts = dict[str, Any]

#: In the folder of run files, a folder for those that are nobody's.
SPARES = ".forgotten"

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
#: Beyond this a run file is not ours: the record in it is limited to a few MB.
_LARGEST_BYTES = 64 << 20
#: What one attempt to read may meet and the next one not.
_PASSING = frozenset(
    (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN, errno.ESTALE)
)
#: Longer files are cut off when they are used again, instead of being overwritten.
_OVERWRITTEN_BYTES = 16 << 10


def create(path: str, spare: str | None = None) -> int:
    """A new run file, locked, to be written. Raises FileExistsError: the attempt began before.

    It is locked before it has its name: who sees it without the lock, and without a word in it,
    would think that the attempt is lost. ``spare``: a file that nobody needs any more becomes it,
    if it can (see ``attic``).
    """
    fd = None
    if spare is not None:
        try:
            fd = _make_of(spare, path, 0)
        except FileExistsError:
            raise
        except OSError:
            pass
    folder, name = os.path.split(path)
    while fd is None:
        new = f"{folder}/{SPARES}/{name}.{os.getpid()}.{time.monotonic_ns()}"
        try:
            fd = _make_of(new, path, os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{folder}/{SPARES}", 0o700)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)  # at most a scan's short shared lock is in the way
    return fd


def _make_of(spare: str, path: str, flags: int) -> int | None:
    """A spare file under its new name, emptied and locked; None: it is another's by now.

    Who has the lock of a file that is still where spares are owns it, whatever other launchers have
    given away: it leaves that place under its lock alone, and no name is used there twice. Raises
    FileExistsError: there is one at ``path``; OSError with EINVAL or ENOSYS: this file system
    cannot.
    """
    fd = os.open(spare, _FLAGS | flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(fd, spare):
            _rename_emptied(fd, spare, path)
            return fd
    except BlockingIOError:
        pass  # it is locked
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _rename_emptied(fd: int, spare: str, path: str) -> None:
    try:
        _empty(fd)
        prctl.rename_exclusively(spare, path)
    except OSError:
        os.unlink(spare)
        raise


def _empty(fd: int) -> None:
    """Overwrite what is there.

    Cutting it off gives its block back, and a file system that tells its disk so (``discard``)
    waits for the disk: once per job.
    """
    size_bytes = os.fstat(fd).st_size
    if size_bytes > _OVERWRITTEN_BYTES:
        os.ftruncate(fd, 0)
    elif size_bytes:
        os.pwrite(fd, bytes(size_bytes), 0)


def reopen(path: str) -> int | None:
    """The run file of a dead shim, locked, to be continued; None: somebody lives or it is gone."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.lseek(fd, len(_written(_read_all(fd))), os.SEEK_SET)
    except OSError:
        os.close(fd)
        return None
    return fd


def append(
    fd: int,
    name: str,
    phase: str,
    facts: Facts | None = None,
    record: bytes | None = None,
    then: str | None = None,
) -> None:
    """Write one line behind those before, with a single write.

    ``name``: of the file, without its folder. ``record`` is JSON already and goes in as it is.
    ``then``: a phase without facts that follows at once.

    Every line begins on a new one, so that garbage before it costs nothing but itself.
    """
    body = protocol.encode({"phase": phase, **(facts or {})})
    if record is not None:
        body = b"".join((body[:-1], b',"record":', record, b"}"))
    line = compose(name, body)
    if then is not None:
        line += compose(name, protocol.encode({"phase": then}))
    written = os.write(fd, line)
    while written < len(line):  # an interrupted write; the disk being full raises
        written += os.write(fd, line[written:])


def compose(name: str, body: bytes) -> bytes:
    """A line of the file of that name."""
    return b"\n%08x %b\n" % (_checksum(name, body), body)


def _checksum(name: str, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(name.encode()))


class Contents:
    """What a run file says. Phases that it does not have are None."""

    __slots__ = ("damaged", "phases")

    def __init__(self, phases: dict[str, Facts], damaged: bool) -> None:
        self.phases = phases
        #: A line that is not whole, other than a torn last one; or no line at all.
        self.damaged = damaged

    @property
    def nothing_left(self) -> bool:
        """Whether it says that no process of the attempt is left, or that there never was one."""
        ended = self.phases.get("exit") or {}
        return bool(ended.get("gone")) or any(
            phase in self.phases for phase in ("gone", "failed", "lost")
        )

    @property
    def group(self) -> Group | None:
        """The control group that the attempt was started in, if any."""
        path = (self.phases.get("starting") or {}).get("group")
        return Group(path) if isinstance(path, str) else None

    def get(self, phase: str) -> Facts | None:
        return self.phases.get(phase)


def parse(data: bytes, name: str) -> Contents:
    """Read what is whole and about the attempt of that file name.

    A later line of a phase replaces an earlier one.
    """
    phases: dict[str, Facts] = {}
    lines = _written(data).split(b"\n")
    lines.pop()  # empty, or torn: a write that a crash cut off
    damaged = False
    for line in lines:
        if not line:
            continue
        facts = _parse_line(line, name)
        if facts is None:
            damaged = True
        else:
            phases[facts["phase"]] = facts
    return Contents(phases, damaged or not phases)


def _parse_line(line: bytes, name: str) -> Facts | None:
    checksum, separator, body = line.partition(b" ")
    try:
        if not separator or int(checksum, 16) != _checksum(name, body):
            return None
        facts = json.loads(body)
    except ValueError:
        return None
    return facts if isinstance(facts, dict) and isinstance(facts.get("phase"), str) else None


def read(path: str) -> tuple[Contents, bool] | None:
    """Contents, and whether somebody holds the lock; None when there is no such file.

    Raises OSError: it can perhaps be read a moment later.
    """
    held = False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            held = _is_locked(fd)
            data = _read_all(fd)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return Contents({}, damaged=True), held  # a folder, a device
    return parse(data, os.path.basename(path)), held


def _read_all(fd: int) -> bytes:
    data = os.read(fd, 1 << 16)
    while len(data) < _LARGEST_BYTES and (more := os.read(fd, 1 << 20)):
        data += more
    return data


def _written(data: bytes) -> bytes:
    return data.rstrip(b"\0")


def keys(folder: str) -> list[tuple[int, int]]:
    """(job id, attempt) of every run file, ascending; other names are none of ours."""
    found = []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    for name in names:
        job_id, separator, attempt = name.partition(".")
        if separator and job_id.isdecimal() and attempt.isdecimal() and name.isascii():
            found.append((int(job_id), int(attempt)))
    return sorted(found)


def is_at(fd: int, path: str) -> bool:
    """Whether an open file is still the one at this path: not deleted, moved or replaced."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def holder(path: str) -> int | None:
    """Pid of who holds the lock, from /proc/locks; for files whose own words are lost."""
    try:
        status = os.stat(path)
        with open("/proc/locks", encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in lines:
        fields = line.split()
        if "FLOCK" in fields and "WRITE" in fields and device in fields:
            return int(fields[4])
    return None
