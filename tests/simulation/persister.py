"""The real persister at the end of a simulated pipe, one turn at a time; it may die in any."""

from __future__ import annotations

from typing import Any, cast

from gflow.persistence import codec, persister
from gflow.persistence.codec import Item
from gflow.persistence.setting import Settings
from tests.simulation.disk import Died, Disk
from tests.simulation.pipe import Pipe
from tests.simulation.witness import Witness


class _Begun(Exception):
    """The persister has come to wait for its first frame: from here on it goes turn by turn."""


class _Connection:
    """``multiprocessing.connection.Connection`` and ``select.poll``, as far as they are used."""

    def __init__(self, pipe: Pipe, disk: Disk, witness: Witness) -> None:
        self._pipe = pipe
        self._disk = disk
        self._witness = witness
        self._begun = False
        #: Items that have come and were not acknowledged as committed.
        self._received: list[Item] = []

    def fileno(self) -> int:
        return 0

    def poll(self, timeout_ms: float) -> bool:
        if not self._begun:
            self._begun = True
            raise _Begun
        return self._pipe.child_readable

    def recv_bytes(self) -> bytes:
        self._disk.boundary()
        data = self._pipe.take()
        frame = codec.decode_frame(data)
        if frame.type == "batch":
            self._received += frame.items
        self._disk.boundary()
        return data

    def send_bytes(self, data: bytes) -> None:
        self._disk.boundary()
        self._pipe.tell(data)
        frame = codec.decode_frame(data)
        if frame.type == "ack" and frame.fields["committed"]:
            self._witness.acknowledged(self._received)
            self._received = []
        elif frame.type == "resync":
            self._received = []
        self._disk.boundary()


class PersisterProcess(persister.Persister):
    """The process. ``ended`` says how it ended, None while it lives."""

    def __init__(self, pipe: Pipe, settings: dict[str, Any], disk: Disk, witness: Witness) -> None:
        connection = _Connection(pipe, disk, witness)
        super().__init__(cast(Any, connection), Settings.parse(settings))
        self._poll = cast(Any, connection)
        self._pipe = pipe
        self._disk = disk
        self._begun = False
        self.ended: str | None = None
        #: SIGSTOP: it does nothing until it is continued.
        self.stopped = False

    @property
    def wants_turn(self) -> bool:
        """Whether a turn would do something now."""
        if self.ended is not None or self.stopped:
            return False
        if not self._begun or self._pipe.child_readable:
            return True
        return bool(self._work) or self._patience_ms() == 0

    def turn(self) -> None:
        """One turn of its loop, or all that comes before the first. Raises PowerCut."""
        try:
            self._live()
        except Died:
            self._leave("SIGKILL")

    def _live(self) -> None:
        try:
            if self._begun:
                self._turn(0)
            else:
                self._leave(f"exit {self.run()}")
        except _Begun:
            self._begun = True
        except persister._Sentinel:
            closed = self._committer.close()
            if closed:
                self._tell("closed")
            self._leave("exit 0" if closed else "exit 1")
        except persister._SupervisorGone:
            self._committer.last_attempt()
            self._leave("exit 0")

    def kill(self) -> None:
        """SIGKILL between two turns."""
        if self.ended is None:
            self._leave("SIGKILL")

    def power_was_cut(self) -> None:
        """It is gone with everything else; the disk sees to its files."""
        self._end("power cut")

    def _leave(self, how: str) -> None:
        self._disk.process_died()
        self._end(how)

    def _end(self, how: str) -> None:
        self.ended = how
        self._pipe.child_gone = True
        self._pipe.to_child.clear()
