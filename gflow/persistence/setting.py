"""What the persister is told at its start."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any


@dataclass(slots=True, frozen=True)
class Settings:
    """All of it travels as one JSON object; only ``state_dir`` has no default."""

    #: The folder of the store. It exists, and the supervisor holds its lock.
    state_dir: str
    #: False for a replacement: memory is the good copy, nothing is checked or sent.
    load: bool = True
    #: The supervisor has just made the folder: starting empty is no surprise.
    folder_is_new: bool = False
    #: Start empty although a marker says that there was a store.
    init_empty: bool = False
    #: Use a folder that belongs to another machine.
    take_over: bool = False
    #: The folder is on a network file system, and the user insists.
    network: bool = False
    #: Commits survive the death of processes, not a power cut.
    relaxed: bool = False
    #: Ended jobs that come along at load: how long ago, and how many at most.
    keep_finished_s: float = 3600.0
    keep_finished: int = 10_000
    #: How long ended jobs stay in history; None: for ever.
    keep_history_s: float | None = None
    #: Between two rounds of purging and collecting.
    housekeeping_interval_s: float = 3600.0
    #: Spare file given up when the disk is full.
    ballast_bytes: int = 4 << 20
    #: Of a replacement: the file system that the store was on, and the number of its session.
    device: int | None = None
    session: int = 0
    #: Descriptors that are inherited only to stay open: the lock of the state folder.
    lock_fds: tuple[int, ...] = ()

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Settings:
        """From the JSON object. Unknown names are programming errors."""
        known = {field.name for field in fields(cls)}
        assert set(values) <= known, set(values) - known
        return cls(**{**values, "lock_fds": tuple(values.get("lock_fds", ()))})

    @property
    def store_path(self) -> str:
        """The file of the store."""
        return store_path(self.state_dir)


def store_path(state_dir: str) -> str:
    """The file of the store in a state folder."""
    return os.path.join(state_dir, "state.db")
