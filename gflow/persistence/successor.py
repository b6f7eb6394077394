"""A store in the place of one that was deleted while it was in use.

Memory is the good copy, and what was deleted is still there for as long as it is open. So it is
written anew under its old name, history and all; where the process that had it open died, from
memory alone. Not where a disk is not mounted any more: what is on it comes back.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable

from gflow.errors import StoreError
from gflow.persistence import backup, folder, lock, storefile, trouble
from gflow.persistence.setting import Settings
from gflow.persistence.store import Store, create
from gflow.persistence.storefile import Presence

#: A store that is gone may come back within this time: somebody moves folders.
PATIENCE_S = 10.0
_LOOK_AGAIN_S = 0.1

FROM_MEMORY = "was deleted while it was in use: written anew from memory, without older history"
WHOLE = "was deleted while it was in use: written anew, with its history"


def is_gone(settings: Settings) -> bool:
    """Whether there is nothing where the store should be. Raises StoreError for what is no store.

    A replacement takes an empty file for none: SQLite would make a new store of it.
    """
    found = storefile.inspect(settings.store_path).presence
    return found is Presence.MISSING or (found is Presence.EMPTY and not settings.load)


def wait(settings: Settings, going_on: Callable[[], None]) -> bool:
    """Give a store that is gone the time to come back. Returns whether it is gone for good.

    Raises StoreError: it must not be written anew here.
    """
    end_s = time.monotonic() + PATIENCE_S
    while is_gone(settings):
        if time.monotonic() >= end_s:
            prepare_folder(settings, settings.device)
            return True
        going_on()
        time.sleep(_LOOK_AGAIN_S)
    return False


def prepare_folder(settings: Settings, device: int | None) -> None:
    """Have the folder there, on the file system of the lost store. Raises StoreError, OSError."""
    path = settings.state_dir
    there = path
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    if device is not None and os.stat(there).st_dev != device:
        raise StoreError(
            f"{settings.store_path}: it is gone, and {there} is on another file system than it was"
            " (is a disk not mounted?); it is waited for"
        )
    os.makedirs(path, mode=0o700, exist_ok=True)


def hold_folder(settings: Settings, lock_fds: list[int]) -> None:
    """Lock the folder where it is not the one that the supervisor has locked: it was made anew.

    The new lock joins the others. Raises StoreError: another supervisor uses it.
    """
    found = os.stat(settings.state_dir)
    if not lock_fds or any(os.path.samestat(os.fstat(fd), found) for fd in lock_fds):
        return
    try:
        lock_fds.append(lock.take_folder(settings.state_dir, wait_s=0.0))
    except lock.LockHeld as error:
        raise StoreError(str(error)) from error


def make(path: str, lost: Store | None, between: Callable[[], None]) -> str:
    """Write a store to a path where there is none. Returns what became of it, in words.

    ``lost``: the deleted store, if it is open still; it is closed, however this ends, unless the
    disk is full. Raises sqlite3.Error, OSError.
    """
    if lost is None:
        create(path)
        return FROM_MEMORY
    try:
        _copy(lost, path, between)
    except (sqlite3.Error, OSError) as error:
        if trouble.classify(error) == "no_space":
            raise
        lost.abandon()
        create(path)
        return f"{FROM_MEMORY} ({error})"
    return WHOLE


def _copy(lost: Store, path: str, between: Callable[[], None]) -> None:
    making = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(making)
    fd = os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        backup.copy_pages(lost, making, fd, between)
        os.fsync(fd)
    except BaseException:
        os.unlink(making)
        raise
    finally:
        os.close(fd)
    # It deletes the log of its name when it closes: before there is a new one.
    lost.abandon()
    os.rename(making, path)
    folder.sync(os.path.dirname(path))
