"""The shim's hand on the run file: what must be written first, what is written afterwards."""

from __future__ import annotations

import errno
import os
import time

from gflow.launching import runfile
from gflow.launching.command import CannotStart
from gflow.launching.runfile import Facts

_WRITE_AGAIN_S = 1.0


class Journal:
    """Writes one run file. A full disk keeps a command from starting; it never loses an end."""

    def __init__(self, path: str, spare: str | None = None) -> None:
        """``spare``: see ``runfile.create``."""
        self._path = path
        self._name = os.path.basename(path)
        self._spare = spare
        self._fd = -1
        #: Lines that the full disk did not take.
        self._unwritten: list[tuple[str, Facts]] = []

    def begin(self) -> bool:
        """Make the file. False: it is there already. Raises CannotStart."""
        try:
            self._fd = runfile.create(self._path, self._spare)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._cannot_start(error) from None
        return True

    def claim(
        self, phase: str, facts: Facts, record: bytes | None = None, then: str | None = None
    ) -> None:
        """A line without which the command must not start. Raises CannotStart.

        Neither must it when the file was deleted: who looked for the attempt meanwhile saw nothing.
        """
        try:
            if not os.fstat(self._fd).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "it was deleted")
            runfile.append(self._fd, self._name, phase, facts, record, then)
        except OSError as error:
            raise self._cannot_start(error) from None

    def _cannot_start(self, error: OSError) -> CannotStart:
        return CannotStart(f"cannot start: {self._path}: {error.strerror}", transient=True)

    def note(self, phase: str, facts: Facts) -> None:
        """A line about what has happened already; a full disk delays it."""
        if self._fd < 0:
            return
        try:
            runfile.append(self._fd, self._name, phase, facts)
        except OSError:
            self._unwritten.append((phase, facts))

    def sync(self) -> None:
        """To the disk, as far as that works: the supervisor's store will have it as well.

        Nothing is done for a file that is forgotten: the store has it already.
        """
        try:
            if not self.is_forgotten():
                os.fdatasync(self._fd)
        except OSError:
            pass

    def discard(self) -> None:
        """As if it had never been begun."""
        if self._fd >= 0:
            try:
                os.unlink(self._path)
            except OSError:
                pass

    def finish(self) -> None:
        """Wait until all is written, or forgotten: its final record is durable elsewhere then."""
        while self._unwritten and not self.is_forgotten():
            time.sleep(_WRITE_AGAIN_S)
            unwritten, self._unwritten = self._unwritten, []
            for phase, facts in unwritten:
                self.note(phase, facts)

    @property
    def is_behind(self) -> bool:
        """Whether the full disk has not taken a line yet."""
        return bool(self._unwritten)

    def is_forgotten(self) -> bool:
        """Whether nobody needs the file any more: the attempt's final record is durable."""
        return not runfile.is_at(self._fd, self._path)

    def close(self) -> None:
        """Give up the lock: this process is no sign of life of the attempt any more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
