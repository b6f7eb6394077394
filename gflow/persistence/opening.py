"""How a store is opened: what must be true, what is refused, what is mended on the way.

Refusals are StoreErrors and leave everything as it was. In order: the marker, the machine, the
file, its version (backup, then migration), its structure after an unclean stop; only then is the
store in use.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gflow.errors import StoreError
from gflow.persistence import (
    floor,
    location,
    marker,
    schema,
    space,
    storefile,
    successor,
    trouble,
    wal,
)
from gflow.persistence.codec import DamagedRecord
from gflow.persistence.disown import disown
from gflow.persistence.marker import Marker, MarkerFile
from gflow.persistence.setting import Settings
from gflow.persistence.store import Store, create
from gflow.persistence.storefile import Presence
from gflow.process.identity import machine_id

#: Up to this size the structure is checked at every start, and after an unclean stop: a check of
#: 300 MB takes 0.3 s. Of a larger store only what is loaded is checked then, the rest later.
_ALWAYS_CHECKED_BYTES = 64 << 20
_CHECKED_BYTES = 512 << 20
_LOADED_TABLES = ("live", "fact", "meta", "quarantine")
_RESTORE = "put a backup in its place with 'gflowctl restore FILE'"


@dataclass(slots=True)
class Opening:
    """An open store and what was found out on the way."""

    store: Store
    marker_file: MarkerFile
    session: int
    clean_shutdown: bool
    created: bool = False
    #: The store was used in another folder before: its jobs' processes were disowned.
    copied: bool = False
    migrated_from: int | None = None
    #: Path of the backup made before a migration.
    backup: str | None = None
    filesystem: str | None = None
    warnings: list[str] = field(default_factory=list)
    #: The stop was unclean, and history is too large to be checked before the start.
    check_later: bool = False
    #: Locks of the state folder, to be kept open.
    lock_fds: list[int] = field(default_factory=list)


def open_store(settings: Settings, going_on: Callable[[], None] = lambda: None) -> Opening:
    """Open the store of a state folder and begin a session. Raises StoreError.

    ``going_on`` is called now and then when it takes long; see ``Store``.
    """
    state_dir, path = settings.state_dir, settings.store_path
    created = False
    try:
        if not settings.load:
            created = successor.wait(settings, going_on)
        os.stat(state_dir)
    except OSError as error:
        raise StoreError(f"cannot open the state folder {state_dir}: {error.strerror}") from error
    known = marker.read(marker.inside(state_dir))
    _refuse_foreign(known, settings)
    lock_fds = list(settings.lock_fds)
    if settings.load:
        found = storefile.inspect(path)
        created = found.presence is not Presence.PRESENT
        if created:
            _refuse_surprise(known, found.presence, settings)
    else:
        successor.hold_folder(settings, lock_fds)
    try:
        if created:
            create(path)
        try:
            opening = _open(settings, known, going_on)
        except (sqlite3.Error, OSError) as error:
            ballast = space.Ballast(state_dir, settings.ballast_bytes)
            if trouble.classify(error) != "no_space" or not ballast.give_up():
                raise
            opening = _open(settings, known, going_on)
    except sqlite3.Error as error:
        raise StoreError(explain(path, error)) from error
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error
    opening.created = created
    opening.lock_fds = lock_fds
    if created and not settings.load:
        opening.warnings.append(f"{path} {successor.FROM_MEMORY}")
    return opening


def _refuse_foreign(known: Marker | None, settings: Settings) -> None:
    if known is not None and known.machine_id != machine_id() and not settings.take_over:
        raise StoreError(
            f"cannot open {settings.state_dir}: it belongs to another machine"
            f" (machine id {known.machine_id}, this one is {machine_id()});"
            " start gflow there, or take the folder over with --take-over"
        )


def _refuse_surprise(known: Marker | None, presence: Presence, settings: Settings) -> None:
    """Refuse to begin empty where there must have been something."""
    path = settings.store_path
    insist = "or start empty with --init-empty"
    if settings.init_empty:
        return
    if presence is Presence.EMPTY:
        raise StoreError(f"cannot open {path}: the file is empty; {_RESTORE}, {insist}")
    if known is not None:
        raise StoreError(
            f"cannot open {path}: there is no such file, although"
            f" {marker.inside(settings.state_dir)} says that there was a store; {_RESTORE},"
            f" {insist}"
        )
    outside = marker.beside(settings.state_dir)
    if not settings.folder_is_new and os.path.lexists(outside):
        raise StoreError(
            f"cannot open {path}: the folder is empty, although {outside} says that there was"
            f" a store (is a disk not mounted?); {_RESTORE}, {insist}"
        )


def _open(settings: Settings, known: Marker | None, going_on: Callable[[], None]) -> Opening:
    path = settings.store_path
    sizes = space.scale(space.total_bytes(settings.state_dir), settings.ballast_bytes)
    # A replacement comes after the death of a process, which damages no file.
    warnings = _look_at_log(f"{path}-wal") if settings.load else []
    going_on()
    store = Store(
        path,
        network=settings.network,
        relaxed=settings.relaxed,
        wal_pages=sizes.wal_pages,
        going_on=going_on,
    )
    try:
        migrated_from = store.version
        backup = _bring_up_to_date(store)
        last = _last_session(store)
        clean = bool(last["clean"])
        warnings += _compare(known, last["number"], clean, path)
        check_later = settings.load and not check_structure(store, clean)
        copied = store.is_copy
        if copied:
            store.begin()
            disown(store)
            store.commit()
        number = max(last["number"], settings.session) + 1
        store.begin_session(number)
        marker_file = _marker_file(settings, known)
        marker_file.establish()
    except BaseException:
        store.abandon()
        raise
    return Opening(
        store,
        marker_file,
        number,
        clean,
        copied=copied,
        migrated_from=migrated_from if backup else None,
        backup=backup,
        filesystem=location.filesystem_of(settings.state_dir),
        warnings=warnings,
        check_later=check_later,
    )


def _look_at_log(path: str) -> list[str]:
    """Say what SQLite is about to ignore, and keep it for those who know how to use it."""
    damage = wal.inspect(path)
    if damage is None:
        return []
    kept = f"{path}.damaged-{_stamp()}"
    shutil.copyfile(path, kept)
    return [
        f"{path} was damaged at frame {damage.frame}: {damage.ignored_commits} commits behind"
        f" it are lost unless they can be taken from {kept}"
    ]


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _bring_up_to_date(store: Store) -> str | None:
    """Migrate an older store after a backup. Returns the backup's path, or None."""
    found = store.version
    # The header in the main file may be older than what the log holds.
    storefile.refuse_newer(store.path, found)
    if found == schema.VERSION:
        return None
    backup = f"{store.path}.v{found}-{_stamp()}"
    store.vacuum_into(backup)
    schema.migrate(store.connection, found)
    # So that the header tells an older gflow, which then touches nothing.
    store.checkpoint()
    return backup


def _last_session(store: Store) -> dict[str, int]:
    try:
        return store.session()
    except DamagedRecord:
        return {"number": 0, "clean": False}


def _compare(known: Marker | None, session: int, clean: bool, path: str) -> list[str]:
    """What does not fit together between marker and store."""
    if known is None or known.clean_session is None:
        return []
    if clean and known.clean_session == session:
        return []
    return [
        f"{path} is not as it was when gflow ended orderly (session {known.clean_session},"
        f" found session {session}): changes may be missing"
    ]


def check_structure(store: Store, clean: bool) -> bool:
    """Check the structure as far as others can wait for it. False: not all of it.

    Raises StoreError: it is damaged.
    """
    size = os.path.getsize(store.path)
    if clean and size > _ALWAYS_CHECKED_BYTES:
        return True
    whole = size <= _CHECKED_BYTES
    problems = store.quick_check(("",) if whole else _LOADED_TABLES)
    if problems:
        raise StoreError(
            f"cannot open {store.path}: it is damaged ({problems[0]}, {len(problems)} findings);"
            f" {_RESTORE}, or look closer with 'gflowctl check'"
        )
    return whole


def _marker_file(settings: Settings, known: Marker | None) -> MarkerFile:
    """The marker of this session; its floor is looked for everywhere when something is missing."""
    if known is None or settings.init_empty:
        id_floor = floor.of_folder(settings.state_dir)
    else:
        id_floor = known.id_floor
    return MarkerFile(settings.state_dir, Marker(machine_id(), id_floor=id_floor))


def explain(path: str, error: sqlite3.Error) -> str:
    """The sentence for people when SQLite cannot open or read the store."""
    kind = trouble.classify(error)
    if kind == "locked":
        return f"cannot open {path}: another program has it locked; end it and start again"
    if kind == "damaged":
        return (
            f"cannot open {path}: it is damaged ({error}); {_RESTORE},"
            " or look closer with 'gflowctl check'"
        )
    if kind == "no_space":
        return f"cannot open {path}: no space left on device"
    return f"cannot open {path}: {error}"
