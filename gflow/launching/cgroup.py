"""Control groups, where one was delegated to us: membership that nobody leaves by forking.

A group per attempt (cgroups(7), version 2), without controllers: it serves to find every process of
an attempt and to kill them all in one stroke (``cgroup.kill``, Linux 5.14). Everything works
without.
"""

from __future__ import annotations

import os


def base(name: str, mode: str) -> str | None:
    """A folder for the groups of attempts, inside of this process's own group; None: without.

    ``mode``: "off"; "auto", only below a group that systemd has delegated (Delegate=yes); or "on",
    wherever the kernel lets us.
    """
    if mode == "off":
        return None
    own = _own()
    if own is None or (mode == "auto" and not _is_delegated(own)):
        return None
    if os.path.basename(own) == name or f"/{name}/" in own:
        return None  # this process runs as a job of the same supervisor's
    path = f"{own}/{name}"
    try:
        os.makedirs(path, exist_ok=True)
        if not os.access(f"{path}/cgroup.kill", os.W_OK):
            return None
        if not os.access(f"{own}/cgroup.procs", os.W_OK):
            return None
    except OSError:
        return None
    return path


def _own() -> str | None:
    """Folder of this process's group in the unified hierarchy."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return None
    group = next((line[3:] for line in lines if line.startswith("0::/")), None)
    for fields in mounts:
        if group is not None and fields[fields.index("-") + 1] == "cgroup2" and fields[3] == "/":
            return f"{fields[4].rstrip('/')}{group}".rstrip("/")
    return None


def _is_delegated(path: str) -> bool:
    for attribute in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(path, attribute) == b"1":
                return True
        except OSError:
            continue
    return False


class Group:
    """The group of one attempt; a path that need not exist."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def make(self) -> None:
        """Raises OSError."""
        os.makedirs(self.path, exist_ok=True)

    def enter(self) -> None:
        """Move this process into it; what it forks from then on is born there. Raises OSError."""
        _write(f"{self.path}/cgroup.procs", "0")

    def leave(self) -> None:
        """Move this process to where the launcher is. Raises OSError."""
        _write(f"{os.path.dirname(os.path.dirname(self.path))}/cgroup.procs", "0")

    def kill(self) -> None:
        """SIGKILL for every member at once, however fast they fork."""
        try:
            _write(f"{self.path}/cgroup.kill", "1")
        except OSError:
            pass  # gone, or another kernel: the processes are killed one by one

    def pids(self) -> set[int]:
        """Its members, zombies included."""
        try:
            with open(f"{self.path}/cgroup.procs", encoding="ascii") as file:
                return {int(line) for line in file}
        except OSError:
            return set()

    def remove(self) -> None:
        """Once it is empty."""
        try:
            os.rmdir(self.path)
        except OSError:
            pass


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
