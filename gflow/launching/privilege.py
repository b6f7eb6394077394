"""Becoming the submitter: in system mode shims stay root, commands do not."""

from __future__ import annotations

import os
import pwd


def become(user: str, uid: int, gid: int) -> None:
    """Give up root for good: groups, gid, uid; all of their kinds (credentials(7)).

    Asks the name service for the groups: only in a process that may wait.
    """
    os.setgroups(os.getgrouplist(user, gid))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    assert os.getresuid() == (uid, uid, uid) and os.getresgid() == (gid, gid, gid)


def home_variables(user: str, uid: int) -> dict[str, str]:
    """What login(1) would set for this user."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return {"USER": user, "LOGNAME": user, "HOME": "/", "SHELL": "/bin/sh"}
    return {"USER": user, "LOGNAME": user, "HOME": entry.pw_dir, "SHELL": entry.pw_shell}
