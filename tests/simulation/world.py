"""One random history of everything: users, processes, the disk, the power, the clock.

``World(seed).run(steps)`` takes that many random steps, some of them faults, then turns all faults
off and lets everything come to its end. Equal seeds give equal histories. A broken promise raises
AssertionError.
"""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gflow.api.operations import Action, JobFilter, Peer
from gflow.errors import Refused
from gflow.model.state import LIVE, Reason, State
from tests.simulation.clock import Clock
from tests.simulation.disk import Disk, PowerCut, SimulatedStore
from tests.simulation.launcher import LauncherProcess
from tests.simulation.machine import Machine
from tests.simulation.persister import PersisterProcess
from tests.simulation.supervisor import Replacement, Supervisor, seams
from tests.simulation.user import Users
from tests.simulation.witness import Witness, listing

_ADMIN = Peer(uid=0, gid=0, pid=1, user="root")
_WAITS_FOR_EVER = (Reason.DEPENDENCY, Reason.DEPENDENCY_NEVER_SATISFIED)
_SETTLING_STEPS = 25_000
#: All invariants of the core are checked after so many turns; the cheap ones after each.
_THOROUGH_EVERY = 25


class World:
    """Everything there is. ``story`` tells the last steps."""

    def __init__(
        self, seed: int, canary: Sequence[Replacement] = (), *, unrest: float | None = None
    ) -> None:
        """``canary``: bugs on purpose. ``unrest``: faults for every hundred steps, else drawn."""
        self.seed = seed
        self.draw = random.Random(seed)
        memory = Path("/dev/shm")
        parent = memory if memory.is_dir() else None
        self._folder = tempfile.mkdtemp(prefix="gflow-simulation-", dir=parent)
        self.relaxed = self.draw.random() < 0.2
        drawn = self.draw.choice((0.0, 1.0, 3.0, 8.0))
        self._unrest = drawn if unrest is None else unrest
        self.clock = Clock()
        self.disk = Disk(f"{self._folder}/state", self.draw, relaxed=self.relaxed)
        Path(self.disk.folder).mkdir()
        self.machine = Machine(self.draw, self.clock, self.disk)
        self.witness = Witness(self.disk, self.machine)
        self.users = Users(self.draw, self.witness)
        self.supervisor: Supervisor | None = None
        #: Children of dead supervisors that have not noticed yet.
        self._orphans: list[PersisterProcess | LauncherProcess] = []
        self._canary = canary
        self.steps = 0
        self._turns = 0
        self.story: list[str] = []

    # --- a history ------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """A whole history. Raises AssertionError, and whatever a bug raises."""
        level = logging.getLogger("gflow").level
        logging.getLogger("gflow").setLevel(logging.CRITICAL + 1)
        try:
            with seams(self.disk, self.machine, self._wait_for_persister, self._canary):
                for _ in range(steps):
                    self._guarded(self._step)
                self._settle()
                self._end_orderly()
        finally:
            logging.getLogger("gflow").setLevel(level)
            if self.supervisor is not None:
                self._kill_supervisor()
            for orphan in self._orphans:
                if isinstance(orphan, PersisterProcess):
                    orphan.kill()
            shutil.rmtree(self._folder)

    def _guarded(self, step: Callable[[], None]) -> None:
        """One step; the power may go in the middle of it."""
        self.steps += 1
        try:
            step()
        except PowerCut:
            self._power_cut()

    def _step(self) -> None:
        if self.draw.random() * 100 < self._unrest:
            fault = self.draw.choice(_FAULTS)
            self._tell(fault.__name__)
            self.witness.unrest = True
            fault(self)
            return
        steps = self._possible()
        weights = [weight for weight, _, _ in steps]
        _, name, step = self.draw.choices(steps, weights)[0]
        self._tell(name)
        step()

    def _tell(self, what: str) -> None:
        self.story.append(f"{self.steps} {what}")
        del self.story[:-200]

    def _possible(self) -> list[tuple[float, str, Callable[[], None]]]:
        """What may happen next: (weight, name, step)."""
        steps: list[tuple[float, str, Callable[[], None]]] = [(1.0, "time", self._pass_time)]
        supervisor = self.supervisor
        if supervisor is None:
            if self._may_start:
                steps.append((5.0, "start", self._start_supervisor))
        else:
            woken = supervisor.woken()
            if supervisor.loop.due or woken:
                steps.append((8.0, "supervisor", self._supervisor_turn))
            if supervisor.serving:
                steps.append((3.0, "request", self._request))
        for process in self._processes():
            if process.wants_turn:
                steps.append((6.0, type(process).__name__, process.turn))
        for watcher in list(self.machine.watchers.values()):
            if watcher.wants_step:
                steps.append((2.0, f"{type(watcher).__name__} {watcher.key}", watcher.step))
        endings = self.machine.endings()
        if endings:
            command = self.draw.choice(endings)
            name = f"end {command.job_id}.{command.attempt}"
            steps.append((3.0, name, lambda: self.machine.end(command)))
        return steps

    def _processes(self) -> list[PersisterProcess | LauncherProcess]:
        if self.supervisor is None:
            return self._orphans
        return [self.supervisor.persister, self.supervisor.launcher, *self._orphans]

    # --- steps ----------------------------------------------------------------------------------

    def _pass_time(self) -> None:
        # Binary fractions: sums are exact, and a timer is due exactly when its moment has come.
        self.clock.pass_s(self.draw.choice((1 / 128, 0.25, 1.0, 1.0, 6.0, 40.0)))

    def _request(self) -> None:
        assert self.supervisor is not None
        for _ in range(self.draw.choice((1, 1, 1, 6))):
            self.users.ask(self.supervisor)

    def _supervisor_turn(self) -> None:
        supervisor = self.supervisor
        assert supervisor is not None
        woken = [way for way in supervisor.woken() if self.draw.random() < 0.8]
        supervisor.turn(woken)
        if supervisor.doom.struck:
            self._kill_supervisor()
            return
        self._turns += 1
        thoroughly = self._turns % _THOROUGH_EVERY == 0
        self.witness.looked_over(supervisor.reactor, thoroughly=thoroughly)

    @property
    def _may_start(self) -> bool:
        """Whether the lock of the state folder is free."""
        if any(watcher.newborn for watcher in self.machine.watchers.values()):
            return False
        for orphan in self._orphans:
            if orphan.ended is None and orphan.stopped:
                orphan.stopped = False  # named, and after a while ended: here it just goes on
        return all(orphan.ended is not None for orphan in self._orphans)

    def _start_supervisor(self) -> None:
        self._orphans.clear()
        supervisor = self.supervisor = Supervisor(
            self.clock, self.disk, self.machine, self.witness, relaxed=self.relaxed
        )
        if not supervisor.load():
            self._kill_supervisor()

    def _wait_for_persister(self) -> None:
        assert self.supervisor is not None
        if self.supervisor.persister.ended is None:
            self.supervisor.persister.turn()

    # --- faults ---------------------------------------------------------------------------------

    def _kill_supervisor(self) -> None:
        supervisor = self.supervisor
        if supervisor is not None:
            supervisor.die()
            self._orphans += [supervisor.persister, supervisor.launcher]
            self.supervisor = None

    def _kill_in_turn(self) -> None:
        if self.supervisor is not None:
            self.supervisor.doom.frames_left = self.draw.randrange(4)

    def _kill_persister(self) -> None:
        if self.supervisor is not None:
            self.supervisor.children["persister"].kill()

    def _kill_persister_at_boundary(self) -> None:
        self.disk.die_in = self.draw.randint(1, 40)

    def _kill_launcher(self) -> None:
        if self.supervisor is not None:
            self.supervisor.children["launcher"].kill()

    def _kill_all(self) -> None:
        supervisor = self.supervisor
        self._kill_supervisor()
        if supervisor is not None:
            for child in supervisor.children.values():
                child.kill()

    def _kill_shim(self) -> None:
        alive = [one for one in self.machine.watchers.values() if one.alive]
        if alive:
            self.draw.choice(alive).die()

    def _delete_run_files(self) -> None:
        if self.draw.random() < 0.7:
            self._kill_all()  # so that nobody remembers what they said
        self.machine.delete_run_files()

    def _stop_process(self) -> None:
        processes = self._processes()
        if processes:
            self.draw.choice(processes).stopped = True

    def _continue_all(self) -> None:
        for process in self._processes():
            process.stopped = False

    def _fill_disk(self) -> None:
        self.disk.fill()

    def _free_disk(self) -> None:
        self.disk.free()

    def _fail_disk(self) -> None:
        self.disk.error_in = self.draw.randint(1, 20)

    def _plan_power_cut(self) -> None:
        if self.draw.random() < 0.5:
            self.disk.arm_power_cut(self.draw.randint(1, 30))
        else:
            raise PowerCut

    def _power_cut(self) -> None:
        self._tell("power cut")
        processes = self._processes()
        self._kill_supervisor()
        self._orphans.clear()
        self.disk.power_was_cut()
        for process in processes:
            if isinstance(process, PersisterProcess):
                process.power_was_cut()
        self.machine.power_was_cut()

    # --- the end --------------------------------------------------------------------------------

    def _settle(self) -> None:
        """No more faults: everything that can run comes to its end, and all of it is saved."""
        self._tell("settle")
        self.machine.fault_rate = 0.0
        self.disk.die_in = self.disk.power_cut_in = self.disk.error_in = None
        self.disk.free()
        self._continue_all()
        if self.supervisor is not None:
            self.supervisor.doom.frames_left = None
        for _ in range(_SETTLING_STEPS):
            self.steps += 1
            if not self._proceed():
                if self._is_quiet():
                    break
                self._let_go()
                self.clock.pass_s(self.draw.choice((0.125, 1.0, 5.0)))
        else:
            raise AssertionError(f"it does not come to rest: {self._unrest_of()}")
        supervisor = self.supervisor
        assert supervisor is not None
        store = supervisor.persister._committer.store
        assert isinstance(store, SimulatedStore)
        self.witness.looked_over(supervisor.reactor, thoroughly=True)
        self.witness.settled(supervisor.reactor, store.content(), store.blobs())

    def _proceed(self) -> bool:
        """Anything but time. False: there is nothing to do now."""
        self._continue_all()
        steps = self._possible()[1:]
        steps = [step for step in steps if step[1] != "request"]
        if not steps:
            return False
        _, name, step = self.draw.choice(steps)
        self._tell(name)
        step()
        return True

    def _is_quiet(self) -> bool:
        return not self._unrest_of()

    def _unrest_of(self) -> str:
        """What still goes on, in words; empty: nothing."""
        supervisor = self.supervisor
        if supervisor is None or not supervisor.serving:
            return "no supervisor serves"
        scheduler, reactor = supervisor.scheduler, supervisor.reactor
        for item in scheduler.in_states(LIVE):
            if scheduler.reason(item) not in _WAITS_FOR_EVER:
                return f"job {item.id} is {item.state} ({scheduler.reason(item)})"
        if not reactor.persister.link.drained:
            return f"{reactor.persister.link.changed} changes are not saved"
        committer = getattr(supervisor.persister, "_committer", None)
        if committer is None or committer.store is None:
            return "the persister has not opened the store yet"
        if reactor.persister.link.trouble:
            return f"trouble: {reactor.persister.link.trouble}"
        if self.machine.run_files:
            return f"run files stay: {[*self.machine.run_files][:3]}"
        if reactor.launcher._unanswered:
            return "starts are not answered"
        return ""

    def _let_go(self) -> None:
        """Release what is held, resume what is suspended."""
        supervisor = self.supervisor
        if supervisor is None or not supervisor.serving:
            return
        scheduler = supervisor.scheduler
        held = [i.id for i in scheduler.in_states(frozenset({State.PENDING})) if i.hold]
        paused = [i.id for i in scheduler.in_states(frozenset({State.SUSPENDED}))]
        for action, ids in ((Action.RELEASE, held), (Action.RESUME, paused)):
            if ids:
                self.users.disturb(ids)
                supervisor.loop.create_task(_act(supervisor, action, JobFilter(ids=tuple(ids))))

    def _end_orderly(self) -> None:
        """SIGTERM, and the next start finds the very same."""
        supervisor = self.supervisor
        assert supervisor is not None
        before, next_id = listing(supervisor.scheduler), supervisor.scheduler.next_id
        supervisor.stop()
        for _ in range(1000):
            if supervisor.ending is not None:
                break
            if not self._proceed():
                self.clock.pass_s(0.5)
        assert supervisor.ending == 0, f"{supervisor.ending} changes were not saved"
        assert supervisor.persister.ended == "exit 0", supervisor.persister.ended
        self._kill_supervisor()
        self._start_supervisor()
        assert self.supervisor is not None
        after = self.supervisor.scheduler
        assert self.supervisor.reactor.persister.store["clean_shutdown"]
        assert after.next_id == next_id, f"ids go on at {after.next_id}, not {next_id}"
        found = listing(after)
        for job_id, record in before.items():
            # How long ended ones are remembered depends on the moment.
            if job_id in found or not record.get("final"):
                assert found.get(job_id) == record, f"{record} is {found.get(job_id)}"


async def _act(supervisor: Supervisor, action: Action, which: JobFilter) -> None:
    try:
        await supervisor.operations.act(_ADMIN, action, which, wait=False)
    except Refused:
        pass


_FAULTS: tuple[Callable[[World], None], ...] = (
    World._kill_supervisor,
    World._kill_in_turn,
    World._kill_persister,
    World._kill_persister_at_boundary,
    World._kill_persister_at_boundary,
    World._kill_launcher,
    World._kill_all,
    World._kill_shim,
    World._delete_run_files,
    World._stop_process,
    World._continue_all,
    World._fill_disk,
    World._free_disk,
    World._free_disk,
    World._fail_disk,
    World._plan_power_cut,
)
