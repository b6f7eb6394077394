"""Putting a backup in the place of the store, while no supervisor runs.

The backup is copied, checked and brought up to date under another name; what was there before is
kept beside it. Ids go on above every floor and every id that anything in the folder names, so
none that was ever given out is given out again.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from typing import Any

from gflow.errors import StoreError
from gflow.persistence import check, codec, floor, folder, marker, schema, storefile
from gflow.persistence.disown import disown
from gflow.persistence.marker import Marker
from gflow.persistence.setting import store_path
from gflow.persistence.store import Store
from gflow.process.identity import machine_id


def restore(backup: str, state_dir: str) -> dict[str, Any]:
    """Replace the store of a state folder by a backup; the caller holds the folder's lock.

    Returns ``{path, previous, id_floor, live}``. Raises StoreError, having changed nothing.
    """
    _accept(backup)
    path = store_path(state_dir)
    making = f"{path}.restoring"
    try:
        _remove(making)
        shutil.copyfile(backup, making)
        os.chmod(making, 0o600)
        id_floor = max(floor.of_folder(state_dir), _floor_of_present_store(path))
        id_floor, live = _prepare(backup, making, id_floor)
        previous = _set_aside(path)
        # The marker first: a floor that is too high harms nobody.
        known = Marker(machine_id(), id_floor=id_floor)
        marker.write(marker.inside(state_dir), known)
        os.rename(making, path)
        folder.sync(state_dir)
    except OSError as error:
        raise StoreError(f"cannot restore {backup}: {error}") from error
    finally:
        _remove(making)
    return {"path": path, "previous": previous, "id_floor": id_floor, "live": live}


def _accept(backup: str) -> None:
    if storefile.inspect(backup).presence is not storefile.Presence.PRESENT:
        raise StoreError(f"cannot restore {backup}: there is no backup in it")


def _prepare(backup: str, making: str, id_floor: int) -> tuple[int, int]:
    """Check the copy, migrate it, raise its id floor. Returns the floor and how many jobs live."""
    findings = check.check_file(making)
    if findings.problems:
        raise StoreError(
            f"cannot restore {backup}: it is damaged ({findings.problems[0]},"
            f" {len(findings.problems)} findings)"
        )
    try:
        store = Store(making)
        try:
            schema.migrate(store.connection, store.version)
            id_floor = max(id_floor, store.id_floor())
            store.begin()
            store.apply([codec.encode(("meta", "id_floor"), {"value": id_floor})])
            if store.is_copy:
                disown(store)
            store.commit()
            live = store.figures()["live"]
            store.close(store.session()["number"])
        finally:
            store.abandon()
    except sqlite3.Error as error:
        raise StoreError(f"cannot restore {backup}: {error}") from error
    _sync(making)
    return id_floor, live


def _floor_of_present_store(path: str) -> int:
    """What the store that is about to be replaced says, if it can still say anything."""
    try:
        if storefile.inspect(path).presence is not storefile.Presence.PRESENT:
            return 1
        store = Store(path)
    except (StoreError, sqlite3.Error):
        return 1
    try:
        return store.id_floor()
    except sqlite3.Error:
        return 1
    finally:
        store.abandon()


def _set_aside(path: str) -> str | None:
    """Rename the present store and its log. Returns the new name, None when there was none."""
    if not os.path.lexists(path):
        return None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = f"{path}.before-restore-{stamp}"
    for suffix in ("-wal", "-journal", ""):
        try:
            os.rename(path + suffix, kept + suffix)
        except FileNotFoundError:
            pass
    return kept


def _remove(path: str) -> None:
    for suffix in ("", "-wal", "-journal", "-shm"):
        try:
            os.unlink(path + suffix)
        except FileNotFoundError:
            pass


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
