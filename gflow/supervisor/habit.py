"""What commands have used before, so that a request far above it is noticed at submission.

Held in memory and bounded; learned from every job that completes and, after a start, from the
latest pages of history. Asking costs a look into a dict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflow.api.quantity import format_duration, format_size, quoted
from gflow.api.server.turn import Turn
from gflow.model.job import Job, Spec
from gflow.model.state import State
from gflow.scheduling import codec
from gflow.supervisor import history

if TYPE_CHECKING:
    from gflow.supervisor.persister_port import PersisterPort

#: Commands remembered; the one that was not met for longest is forgotten first.
_COMMANDS = 4_096
#: Pages of history that are learned from, and jobs on each.
_PAGES, _PAGE_JOBS = 8, 250
#: Specs of one submission that are looked at.
_LOOKED_AT = 25
_GIB = 1 << 30
#: A request is far above when it is this many times as much, and at least so much more.
_MEMORY = (4.0, _GIB)
_TIME_S = (20.0, 7200.0)
_CPUS = (4.0, 3)
#: Shorter runs say nothing about processors, or about cards.
_TELLING_S, _TELLING_GPU_S = 10.0, 60.0
#: Cards whose mean use stayed below this were not needed.
_IDLE_SHARE = 0.02

Key = tuple[int, str]


@dataclass(slots=True)
class Habit:
    """The most that completed runs of one command used. None: not measured."""

    runs: int = 0
    memory_bytes: float | None = None
    elapsed_s: float = 0.0
    #: Mean of processors in use.
    cpus: float | None = None
    #: Mean use of the cards, from 0 to 1.
    gpu_share: float | None = None


class Habits:
    """Habits by user and command."""

    def __init__(self) -> None:
        self._known: dict[Key, Habit] = {}

    def note(self, job: Job) -> None:
        """Learn from a job that has ended; only from one that completed."""
        if job.state is not State.COMPLETED or job.started_at is None or job.finished_at is None:
            return
        key = _key(job.spec)
        habit = self._known.pop(key, None) or Habit()
        self._known[key] = habit
        if len(self._known) > _COMMANDS:
            del self._known[next(iter(self._known))]
        usage = job.usage or {}
        elapsed_s = max(0.0, job.finished_at - job.started_at)
        habit.runs += 1
        habit.elapsed_s = max(habit.elapsed_s, elapsed_s)
        habit.memory_bytes = _most(
            habit.memory_bytes, usage.get("max_pss_bytes") or usage.get("max_rss_bytes")
        )
        if elapsed_s >= _TELLING_S and "cpu_s" in usage:
            habit.cpus = _most(habit.cpus, usage["cpu_s"] / elapsed_s)
        gpus = job.spec.resources.gpus
        if gpus and elapsed_s >= _TELLING_GPU_S and "gpu_s" in usage:
            habit.gpu_share = _most(habit.gpu_share, usage["gpu_s"] / elapsed_s / gpus)

    async def learn(self, persister: PersisterPort) -> None:
        """Learn from the latest that history holds, in short turns."""
        turn = Turn()
        asked = {"states": [State.COMPLETED], "kind": "job", "limit": _PAGE_JOBS}
        async for answer in history.pages(persister, asked, _PAGES):
            for key, record in answer.records:
                assert isinstance(record, dict)
                job = codec.decode(key, record)
                assert isinstance(job, Job)
                self.note(job)
                await turn.breathe()

    def advice(self, specs: Sequence[Spec]) -> list[str]:
        """One sentence for each request that is far above what the same command used."""
        found: dict[str, None] = {}
        for spec in specs[:_LOOKED_AT]:
            habit = self._known.get(_key(spec))
            if habit is not None:
                found.update(dict.fromkeys(_advice(spec, habit)))
        return list(found)


def _most(known: float | None, value: float | None) -> float | None:
    if known is None or value is None:
        return value if known is None else known
    return max(known, value)


def _key(spec: Spec) -> Key:
    return (spec.uid, _command(spec))


def _command(spec: Spec) -> str:
    """A command without what differs from run to run: its program and the word after it, unless
    that is an option or a number. A script is known by the job's name, a shell line as it is."""
    if spec.script is not None:
        return spec.name
    if spec.command[:2] == ("bash", "-c"):
        return " ".join(spec.command[2:3])
    words = list(spec.command[:1])
    words += [word for word in spec.command[1:2] if word[:1].isalpha() or word[:1] in ("/", ".")]
    return " ".join(words)


def _advice(spec: Spec, habit: Habit) -> list[str]:
    want = spec.resources
    runs = "its last run" if habit.runs == 1 else f"{habit.runs} runs"
    before = f"{quoted(_command(spec), 40)} used before"
    found = []
    if habit.memory_bytes is not None and _is_far(want.memory_bytes, habit.memory_bytes, _MEMORY):
        used = format_size(int(habit.memory_bytes))
        asked = format_size(want.memory_bytes)
        found.append(f"--mem {asked} is far above what {before}: {used} at most in {runs}")
    if _is_far(spec.time_limit_s, habit.elapsed_s, _TIME_S):
        took = format_duration(habit.elapsed_s)
        asked = format_duration(spec.time_limit_s)
        found.append(f"--time {asked} is far above what {before}: {took} at most in {runs}")
    if habit.cpus is not None and _is_far(want.cpus, habit.cpus, _CPUS):
        found.append(
            f"--cpus {want.cpus} is far above what {before}: {habit.cpus:.1f} at most in {runs}"
        )
    if want.gpus and habit.gpu_share is not None and habit.gpu_share < _IDLE_SHARE:
        found.append(f"--gpus {want.gpus}: {quoted(_command(spec), 40)} hardly used any in {runs}")
    return found


def _is_far(asked: float | None, used: float, far: tuple[float, float]) -> bool:
    times, more = far
    return asked is not None and asked >= max(used * times, used + more)
