"""What an error from SQLite or the operating system means for saving."""

from __future__ import annotations

import errno
import sqlite3


def classify(error: sqlite3.Error | OSError) -> str:
    """Kind of trouble that an error means: "no_space", "damaged", "locked" or "io"."""
    if isinstance(error, OSError):
        return "no_space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "io"
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return "no_space"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return "damaged"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "locked"
    return "io"
