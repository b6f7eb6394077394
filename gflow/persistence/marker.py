"""The marker: a small file that says "there was a store here, and ids were given out up to this".

It lies beside the store and guards against the loss of the store itself: a start that finds a
marker but no store must not begin empty. A copy beside the state folder guards against the loss
of the whole folder (a disk that is not mounted leaves an empty one). Written under another name,
synced, renamed.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields, replace

from gflow.errors import StoreError
from gflow.persistence import codec, folder
from gflow.persistence.codec import DamagedRecord


@dataclass(slots=True, frozen=True)
class Marker:
    """What is known about a state folder without its store."""

    #: machine-id(5) of the machine that it belongs to.
    machine_id: str
    #: Every id below has been given out, or may have been.
    id_floor: int = 1
    #: Number of the session that ended orderly last, as the store counts them; None: none did.
    clean_session: int | None = None


def inside(state_dir: str) -> str:
    """Path of the marker proper."""
    return os.path.join(state_dir, "state.marker")


def beside(state_dir: str) -> str:
    """Path of its copy outside the folder."""
    parent, name = os.path.split(os.path.abspath(state_dir))
    return os.path.join(parent, f".{name}.marker")


def read(path: str) -> Marker | None:
    """The marker at ``path``; None when there is none. Raises StoreError for a damaged one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    try:
        values = codec.decode_json(os.read(fd, 65536))
        known = {field.name for field in fields(Marker)}
        return Marker(**{name: value for name, value in values.items() if name in known})
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except (DamagedRecord, AttributeError, TypeError) as error:
        raise StoreError(
            f"cannot read {path}: it is damaged ({error}); if the store beside it is whole,"
            " delete the marker and start again, ids then go on from the store's own count"
        ) from error
    finally:
        os.close(fd)


def write(path: str, marker: Marker) -> None:
    """Replace the marker at ``path``, durably. Raises OSError."""
    making = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(making, flags, 0o600)
    try:
        os.write(fd, codec.encode_json(asdict(marker)) + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(making, path)
    folder.sync(os.path.dirname(path))


class MarkerFile:
    """The marker of an open state folder."""

    def __init__(self, state_dir: str, marker: Marker) -> None:
        self._path = inside(state_dir)
        self._copy_path = beside(state_dir)
        self.marker = marker

    def update(self, **changes: object) -> None:
        """Change fields and write, if anything changed. Raises OSError."""
        changed = replace(self.marker, **changes)  # type: ignore[arg-type]
        if changed != self.marker:
            write(self._path, changed)
            self.marker = changed

    def establish(self) -> None:
        """Write both files. The one outside is a courtesy: it may be impossible."""
        write(self._path, self.marker)
        try:
            write(self._copy_path, self.marker)
        except OSError:
            pass
