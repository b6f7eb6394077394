"""Which file system a folder lies on, and where the state goes when that one cannot be trusted.

WAL needs shared memory and locks that work; on NFS and its like they do not ("WAL-mode File
Format", section 2; "How To Corrupt An SQLite Database File", section 2.1).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

_NETWORK = frozenset(
    """
    9p afs beegfs ceph cifs coda davfs fuse.beegfs fuse.ceph fuse.cvmfs2 fuse.davfs
    fuse.glusterfs fuse.juicefs fuse.rclone fuse.s3fs fuse.sshfs fuse.vmhgfs-fuse glusterfs
    gpfs lustre ncpfs nfs nfs4 orangefs panfs prl_fs pvfs2 smb3 smbfs vboxsf virtiofs vmhgfs
    """.split()  # noqa: SIM905
)


class Mount(NamedTuple):
    """One line of the mount table."""

    point: str
    filesystem: str
    source: str


class Choice(NamedTuple):
    """Where the state goes."""

    path: str
    #: File system of the chosen folder, None when the mount table does not tell.
    filesystem: str | None
    #: The chosen folder is on a network file system, because someone insists.
    network: bool
    #: Why it is not the preferred folder, one sentence; None: it is.
    reason: str | None


def parse_mounts(table: str) -> list[Mount]:
    """Lines of /proc/self/mountinfo (proc_pid_mountinfo(5)), in order of mounting."""
    mounts = []
    for line in table.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 6:
            continue
        filesystem, _, rest = after.partition(" ")
        mounts.append(Mount(_unescape(fields[4]), filesystem, _unescape(rest.split(" ")[0])))
    return mounts


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """The mount that holds an absolute path: the deepest, and of equals the last."""
    best = None
    for mount in mounts:
        inside = mount.point == "/" or (path + "/").startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def is_network(filesystem: str | None) -> bool:
    """Whether locks and shared memory must not be trusted there."""
    return filesystem in _NETWORK


def choose(
    preferred: str,
    *,
    environment: Mapping[str, str],
    uid: int,
    machine: str,
    mounts: list[Mount],
    insist: bool = False,
) -> Choice:
    """A local folder for the state. ``preferred`` is taken when it is local, or on ``insist``."""
    mount = mount_of(preferred, mounts)
    filesystem = mount.filesystem if mount else None
    if not is_network(filesystem):
        return Choice(preferred, filesystem, False, None)
    if insist:
        return Choice(preferred, filesystem, True, None)
    candidates = [f"/var/tmp/gflow-{uid}"]
    if environment.get("XDG_STATE_HOME", "").startswith("/"):
        candidates.insert(0, f"{environment['XDG_STATE_HOME']}/gflow/{machine}")
    for path in candidates:
        found = mount_of(path, mounts)
        if not is_network(found.filesystem if found else None):
            reason = f"{preferred} is on a network file system ({filesystem})"
            return Choice(path, found.filesystem if found else None, False, reason)
    return Choice(preferred, filesystem, True, None)


def read_mounts() -> list[Mount]:
    """The mount table of this process; empty when it cannot be read."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return parse_mounts(file.read())
    except OSError:
        return []


def filesystem_of(path: str) -> str | None:
    """File system type of an existing or future path; None when the mount table does not tell."""
    mount = mount_of(os.path.realpath(path), read_mounts())
    return mount.filesystem if mount else None


def _unescape(text: str) -> str:
    """Undo the octal escapes of blanks, tabs, newlines and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
