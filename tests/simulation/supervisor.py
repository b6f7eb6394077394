"""One life of the supervisor: the real reactor, ports and operations on the simulated loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from gflow import config as configuration
from gflow.api.server import turn
from gflow.errors import StoreError
from gflow.launching import custody, launcher, report, survey
from gflow.model.event import Ready
from gflow.persistence import committer, marker, opening, persister, space, store
from gflow.supervisor import clock as supervisor_clock
from gflow.supervisor import persister_port, port, reactor
from gflow.supervisor.folder import Folders
from gflow.supervisor.loop import GapMeter
from gflow.supervisor.machine import capacity, scheduler_settings
from gflow.supervisor.operations import SupervisorOperations
from gflow.supervisor.reactor import Reactor
from tests.simulation.child import IdleProcess, SimulatedChild
from tests.simulation.clock import Clock, RestlessClock
from tests.simulation.disk import Disk, SimulatedBallast
from tests.simulation.launcher import LauncherProcess, SimulatedLedger, SimulatedSystem
from tests.simulation.loop import Loop
from tests.simulation.machine import CPUS, GPUS, Machine
from tests.simulation.persister import PersisterProcess
from tests.simulation.pipe import Doom, Pipe
from tests.simulation.witness import Witness, WitnessedScheduler

#: Owner, attribute, and what stands there during a simulation.
Replacement = tuple[Any, str, Any]


class Supervisor:
    """From the birth of its children to its death. ``serving``: requests are taken."""

    def __init__(
        self, clock: Clock, disk: Disk, machine: Machine, witness: Witness, *, relaxed: bool
    ) -> None:
        self.clock = clock
        self.doom = Doom()
        self.loop = Loop(clock)
        self.serving = False
        self.ending: int | None = None
        config = configuration.load({}, _flags(relaxed), {})
        settings = {
            "state_dir": disk.folder,
            "relaxed": relaxed,
            "keep_finished_s": config["scheduler"]["keep_finished_s"],
        }

        def bear_persister(pipe: Pipe, settings: dict[str, Any]) -> PersisterProcess:
            pipe.doom = self.doom
            return PersisterProcess(pipe, settings, disk, witness)

        def bear_launcher(pipe: Pipe, _: dict[str, Any]) -> LauncherProcess:
            pipe.doom = self.doom
            return LauncherProcess(pipe, machine)

        self.children = {
            "launcher": SimulatedChild("launcher", bear_launcher, {}),
            "logger": SimulatedChild("logger", lambda *_: IdleProcess(), {}),
            "persister": SimulatedChild("persister", bear_persister, settings),
            "monitor": SimulatedChild("monitor", lambda *_: IdleProcess(), {}),
        }
        self.scheduler = WitnessedScheduler(
            scheduler_settings(config), capacity(config), machine.boot_id
        )
        self.scheduler.witness = witness
        folders = Folders(disk.folder, disk.folder, None, False, False)
        self.reactor = Reactor(
            cast(Any, self.loop),
            GapMeter(),
            self.scheduler,
            config,
            folders,
            cast(Any, self.children),
            "start",
        )
        self.operations = SupervisorOperations(self.reactor)

    @property
    def persister(self) -> PersisterProcess:
        return cast(PersisterProcess, self.children["persister"].process)

    @property
    def launcher(self) -> LauncherProcess:
        return cast(LauncherProcess, self.children["launcher"].process)

    def load(self) -> bool:
        """Take in the store. False: it could not be opened, and the program ends with 1."""
        try:
            self.reactor.load()
        except StoreError:
            return False
        self.loop.create_task(self._live())
        return True

    async def _live(self) -> None:
        """As ``service.Service.live``, without socket and signals."""
        self.reactor.attach()
        await self.reactor.attempts.recovered()
        self.operations.remember()
        self.reactor.step(Ready())
        await self.reactor.ids.reserve(0)
        self.serving = True

    def stop(self) -> None:
        """SIGTERM; ``ending`` will be the number of changes that were not saved."""
        self.serving = False
        self.loop.create_task(self._stop())

    async def _stop(self) -> None:
        self.ending = await self.reactor.close()

    def woken(self) -> list[tuple[str, int]]:
        """Descriptors that somebody waits for and that are ready."""
        found = []
        for child in self.children.values():
            pipe = child.pipe
            if pipe.readable:
                found.append(("r", pipe.fileno()))
            if pipe.takes_more or pipe.child_gone:
                found.append(("w", pipe.fileno()))
            if child.died:
                found.append(("r", child.pidfd))
        return [way for way in found if self.loop.watches(*way)]

    def turn(self, woken: list[tuple[str, int]]) -> None:
        """One turn of the loop. Raises what no callback caught."""
        self.loop.turn(woken)
        if self.loop.crashes:
            raise self.loop.crashes[0]

    def die(self) -> None:
        """SIGKILL: its ends of all pipes are closed, what is in them stays."""
        for child in self.children.values():
            child.pipe.close()
        self.loop.abandon()


def _flags(relaxed: bool) -> dict[str, dict[str, Any]]:
    return {
        "resources": {"cpus": CPUS, "memory_bytes": 1 << 30},
        "gpus": {"count": GPUS, "claim": False},
        "scheduler": {
            "keep_finished_s": 60.0,
            "keep_finished_count": 20,
            # Beyond it a pass may end before everything that could start was tried.
            "backfill_depth": 5000,
        },
        "persistence": {"durability": "relaxed" if relaxed else "full"},
    }


@contextmanager
def seams(
    disk: Disk, machine: Machine, wait: Callable[[], None], canary: Iterable[Replacement]
) -> Iterator[None]:
    """Put clock, disk and processes of the simulation in the place of the real ones."""
    clock = machine.clock
    system, restless = SimulatedSystem(machine), RestlessClock(machine.draw)

    class Select:
        POLLIN = 1

        @staticmethod
        def poll() -> Any:
            return _Waiter(wait)

    places: list[Replacement] = [
        *((module, "time", clock) for module in _TIMED),
        (turn, "time", restless),
        (port, "time", restless),
        (persister_port, "select", Select),
        (committer, "Store", disk.open),
        (opening, "Store", disk.open),
        (space, "Ballast", lambda *_: SimulatedBallast(disk)),
        (marker, "write", disk.write_marker),
        (launcher, "os", system),
        (launcher, "oom", SimpleNamespace(kills=lambda: None)),
        (launcher, "notice", SimpleNamespace(write=_nothing, remove=_nothing)),
        *((custody, name, system) for name in ("os", "identity", "tree")),
        (custody, "_send_signal", machine.signal_fd),
        (custody, "_has_ended", machine.has_ended),
        (report, "os", system),
        (survey, "Ledger", SimulatedLedger),
        (SimulatedLedger, "machine", machine),
        (survey, "runfile", system),
        (survey, "identity", system),
        (survey.Survey, "_find_members", lambda _, *key: machine.members(*key[:2])),
        *canary,
    ]
    with ExitStack() as stack:
        for owner, name, replacement in places:
            stack.enter_context(patch.object(owner, name, replacement))
        yield


def _nothing(*_: Any, **__: Any) -> None:
    """A file that nobody in the simulation reads."""


_TIMED = (
    *(committer, custody, launcher, opening, persister),
    *(persister_port, reactor, store, supervisor_clock),
)


class _Waiter:
    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait = wait

    def register(self, fd: int, events: int) -> None:
        pass

    def poll(self) -> None:
        self._wait()
