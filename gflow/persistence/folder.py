"""The state folder in its file system: what tells it from its copies, what makes it durable."""

from __future__ import annotations

import os
from typing import Any

from gflow.process.identity import machine_id


def identity(path: str) -> dict[str, Any]:
    """What tells a state folder from its copies: ``{machine_id, inode}``."""
    return {"machine_id": machine_id(), "inode": os.stat(path).st_ino}


def sync(path: str) -> None:
    """Make names in a folder durable (fsync(2) of the folder)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
