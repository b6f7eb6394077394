"""The one call that the standard library lacks: becoming the parent of orphans (prctl(2))."""

from __future__ import annotations

import ctypes
import os

_PR_SET_CHILD_SUBREAPER = 36
libc = ctypes.CDLL(None, use_errno=True)
_prctl = libc.prctl


def become_subreaper() -> None:
    """From now on orphaned descendants become children of this process."""
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
