"""Control groups, where one was delegated to us: membership that nobody leaves by forking.

A group per attempt (cgroups(7), version 2) serves to find every process of an attempt and to kill
them all in one stroke (``cgroup.kill``, Linux 5.14). Where the memory controller comes along, the
kernel itself keeps an attempt below its memory limit. Everything works without.

The kernel gives controllers only to groups whose parent has no process of its own (cgroups(7), "no
internal processes"), so we must not be in the delegated group itself but in one below:
``DelegateSubgroup=`` of systemd 254.
"""

from __future__ import annotations

import os

#: Written by systemd to a group that it has delegated (Delegate=yes).
_MARKS = ("user.delegate", "trusted.delegate")
_NO_MEMORY = "the delegated control group has no memory controller"


class Groups:
    """The folder of the groups of all attempts."""

    __slots__ = ("home", "limit_refusal", "path")

    def __init__(self, path: str, home: str, limit_refusal: str | None) -> None:
        self.path = path
        #: The group in which launcher and shims are.
        self.home = home
        #: Why memory cannot be limited in them; None: it can.
        self.limit_refusal = limit_refusal

    def of(self, job_id: int, attempt: int) -> Group:
        """The group of one attempt."""
        return Group(f"{self.path}/{job_id}.{attempt}", self.home)


def find(name: str, mode: str) -> tuple[Groups | None, str | None]:
    """The folder for the groups of attempts; and why memory is not limited by groups, or None.

    ``mode``: "off"; "auto", only below a group that systemd has delegated; or "on", wherever the
    kernel lets us.
    """
    if mode == "off":
        return None, "control groups are turned off"
    home = _own()
    if home is None:
        return None, "there are no control groups of version 2"
    top = _delegated(home) or (home if mode == "on" else None)
    if top is None:
        return None, "no control group is delegated to gflow"
    if f"/{name}/" in f"{home}/":
        return None, "the supervisor runs as a job itself"
    path = f"{top}/{name}"
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    if not all(
        os.access(file, os.W_OK) for file in (f"{path}/cgroup.kill", f"{home}/cgroup.procs")
    ):
        return None, f"{path}: it may not be used"
    groups = Groups(path, home, _hand_down_memory(top, home, path))
    return groups, groups.limit_refusal


def _hand_down_memory(top: str, home: str, path: str) -> str | None:
    """Give the memory controller to the groups in ``path``; None, or why that cannot be."""
    if "memory" not in _words(f"{top}/cgroup.controllers"):
        return _NO_MEMORY
    # With us in it, it could only be the root of the hierarchy, which alone has no type.
    if top == home and os.path.exists(f"{top}/cgroup.type"):
        return "gflow is in the delegated control group itself (DelegateSubgroup=, systemd 254)"
    try:
        for folder in (top, path):
            _write(f"{folder}/cgroup.subtree_control", "+memory")
    except OSError as error:
        return f"the memory controller cannot be handed down: {error.strerror}"
    return None


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


def _delegated(home: str) -> str | None:
    """The delegated group that we are in, or in whose subgroup."""
    return next((path for path in (home, os.path.dirname(home)) if _is_marked(path)), None)


def _is_marked(path: str) -> bool:
    for attribute in _MARKS:
        try:
            if os.getxattr(path, attribute) == b"1":
                return True
        except OSError:
            continue
    return False


class Group:
    """The group of one attempt; a path that need not exist."""

    __slots__ = ("_home", "limited", "path")

    def __init__(self, path: str, home: str | None = None) -> None:
        self.path = path
        #: None where nobody is going to leave it.
        self._home = home
        #: The kernel keeps it below a memory limit, and counts.
        self.limited = False

    def make(self) -> None:
        """Raises OSError."""
        os.makedirs(self.path, exist_ok=True)

    def enter(self) -> None:
        """Move this process into it; what it forks from then on is born there. Raises OSError."""
        _write(f"{self.path}/cgroup.procs", "0")

    def leave(self) -> None:
        """Move this process to where the launcher is. Raises OSError."""
        _write(f"{self._home}/cgroup.procs", "0")

    def limit_memory(self, limit_bytes: int) -> None:
        """Have the kernel end all of it at once when it needs more; without swap, where it counts.

        After the command was born: what this process itself touched is small then beside the rest.
        """
        try:
            _write(f"{self.path}/memory.oom.group", "1")
            _write(f"{self.path}/memory.max", str(limit_bytes))
            self.limited = True
            _write(f"{self.path}/memory.swap.max", "0")
        except OSError:
            pass  # no controller: the monitor looks; or no swap accounting: only memory counts

    def oom_kills(self) -> int:
        """Processes of it that the kernel has killed for its limit."""
        return _figures(f"{self.path}/memory.events").get("oom_kill", 0)

    def peak_bytes(self) -> int | None:
        """The most memory that it ever had, the files that it read and wrote included."""
        words = _words(f"{self.path}/memory.peak")  # Linux 5.19
        return int(words[0]) if words else None

    def cpu_s(self) -> float | None:
        """Processor time of all that were ever in it."""
        used_us = _figures(f"{self.path}/cpu.stat").get("usage_usec")
        return None if used_us is None else used_us / 1e6

    def kill(self) -> None:
        """SIGKILL for every member at once, however fast they fork."""
        try:
            _write(f"{self.path}/cgroup.kill", "1")
        except OSError:
            pass  # gone, or another kernel: the processes are killed one by one

    def pids(self) -> set[int]:
        """Its members, zombies included."""
        return {int(word) for word in _words(f"{self.path}/cgroup.procs")}

    def remove(self) -> None:
        """Once it is empty."""
        try:
            os.rmdir(self.path)
        except OSError:
            pass


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _figures(path: str) -> dict[str, int]:
    """A file of lines ``name number``."""
    words = _words(path)
    return {name: int(number) for name, number in zip(words[::2], words[1::2])}


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
