"""What a command has used, from what the kernel says when it ends (getrusage(2))."""

from __future__ import annotations

import resource

from gflow.launching.cgroup import Group
from gflow.launching.runfile import Facts


def of_command(command: resource.struct_rusage, cpu_before_s: float) -> Facts:
    """What the command used, and the processor time of every orphan of its as well.

    After an exec the kernel counts the memory of the process that called it: a peak up to the
    shim's own is no measurement then, and ``max_rss_floor`` says so (getrusage(2)).
    """
    floor_bytes = own_peak_bytes()
    usage: Facts = {
        "cpu_s": round(children_cpu_s() - cpu_before_s, 6),
        "user_s": command.ru_utime,
        "system_s": command.ru_stime,
        "max_rss_bytes": command.ru_maxrss * 1024,
        "read_bytes": command.ru_inblock * 512,
        "write_bytes": command.ru_oublock * 512,
    }
    if command.ru_maxrss * 1024 <= floor_bytes:
        usage["max_rss_floor"] = True
    return usage


def children_cpu_s() -> float:
    """Processor time of every child that ended so far, and of those that they waited for."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def own_peak_bytes() -> int:
    """The most memory that this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def add_group(usage: Facts, group: Group) -> None:
    """Add what the kernel counted for a control group, children that are not waited for included.

    ``memory_peak_bytes`` is not resident memory alone: files that it read or wrote count too.
    """
    cpu_s, peak_bytes = group.cpu_s(), group.peak_bytes()
    if cpu_s is not None:
        usage["cpu_s"] = max(usage["cpu_s"], cpu_s)
    if peak_bytes is not None:
        usage["memory_peak_bytes"] = peak_bytes
