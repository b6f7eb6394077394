"""New jobs and arrays: checked first, all of them, and only then admitted."""

from __future__ import annotations

from collections.abc import Mapping

from gflow.errors import Refused
from gflow.model.action import Action, Admitted, Changed
from gflow.model.event import Submit
from gflow.model.job import Array, ArraySpec, Dependency, Job, Spec
from gflow.model.resources import Capacity, Resources
from gflow.model.state import TERMINAL, Instant, State
from gflow.scheduling import numbering, phrase, quota, waiting
from gflow.scheduling.core import Core
from gflow.scheduling.pool import Pool
from gflow.scheduling.state import Item

DEPENDENCY_TYPES = ("after", "afterok", "afterany", "afternotok", "aftercorr", "singleton")


def submit(core: Core, event: Submit, now: Instant) -> list[Action]:
    """Admit all specs or refuse with the first one that cannot be granted."""
    ended = dict(event.ended)
    check(core, event.specs, ended)
    needed = sum(ids_needed(spec) for spec in event.specs)
    if core.next_id + needed > core.id_floor_committed:
        raise Refused(Refused.UNAVAILABLE, "cannot submit: no ids are saved yet, try again")
    holds = event.holds or (None,) * len(event.specs)
    assert len(holds) == len(event.specs)
    ids: list[int] = []
    actions: list[Action] = []
    for spec, hold in zip(event.specs, holds):
        item = admit(core, spec, hold, ended, now)
        ids.append(item.id)
        actions.append(Changed(item.id, None, State.PENDING, "submitted"))
    return [Admitted(tuple(ids)), *actions]


def ids_needed(spec: Spec) -> int:
    """How many ids a spec takes: one, and for an array one more for each task."""
    return 1 if spec.array is None else 1 + numbering.size(spec.array)


def admit(
    core: Core, spec: Spec, hold: str | None, ended: Mapping[int, State], now: Instant
) -> Item:
    """Take in one spec that was checked."""
    item: Item
    if spec.array is None:
        item = Job(core.next_id, spec, now.wall_s, hold=hold, priority=spec.priority)
    else:
        tasks = numbering.size(spec.array)
        item = Array(
            core.next_id,
            spec,
            now.wall_s,
            pending=[(0, tasks)],
            size=tasks,
            hold=hold,
            priority=spec.priority,
            limit=spec.array.limit,
        )
        core.live.counts[State.PENDING] += tasks
    core.next_id += ids_needed(spec)
    if spec.group is not None and spec.group_limit is not None:
        quota.limit_group(core, spec.user, spec.group, spec.group_limit)
    core.live.add(item)
    core.live.change(item)
    note_facts(core, spec, ended)
    waiting.count_pending(core, item, pending_of(spec))
    waiting.watch(core, item)
    waiting.enter(core, item, now)
    return item


def pending_of(spec: Spec) -> int:
    """How many jobs a spec makes."""
    return 1 if spec.array is None else numbering.size(spec.array)


def note_facts(core: Core, spec: Spec, ended: Mapping[int, State]) -> None:
    """Remember ends that only history knows, for as long as somebody waits for them."""
    for dependency in spec.dependencies:
        for parent in dependency.jobs:
            if parent in ended:
                core.dependencies.facts[parent] = ended[parent]


# --- checks -----------------------------------------------------------------------------------


def check(core: Core, specs: tuple[Spec, ...], ended: Mapping[int, State]) -> None:
    """Raise :class:`Refused` unless every spec could be admitted now."""
    most = core.settings.array_tasks_max
    for spec in specs:
        check_numbers(spec)
        if spec.array is not None and numbering.size(spec.array) > most:
            raise _refuse(f"{numbering.size(spec.array)} tasks in one array, {most} are allowed")
        check_fits(core.capacity, spec.resources)
        check_group(spec)
        for dependency in spec.dependencies:
            check_dependency(core, dependency, ended)
    quota.check_pending(core, quota.pending_counts(specs))


def _refuse(message: str) -> Refused:
    return Refused(Refused.INVALID, f"cannot submit: {message}")


def check_numbers(spec: Spec) -> None:
    """Refuse numbers that mean nothing, whatever the machine."""
    want = spec.resources
    if want.cpus < 1:
        raise _refuse(f"a job needs at least 1 cpu, not {want.cpus}")
    for name, value in (
        ("memory", want.memory_bytes),
        ("gpus", want.gpus),
        ("gpu memory", want.gpu_memory_bytes),
        *want.gres,
    ):
        if value < 0:
            raise _refuse(f"{name} cannot be negative ({value})")
    if want.gpu_shared and not (want.gpus and want.gpu_memory_bytes):
        raise _refuse("sharing gpus needs a number of gpus and the memory claimed on each")
    if spec.time_limit_s is not None and spec.time_limit_s <= 0:
        raise _refuse(f"a time limit must be positive, not {spec.time_limit_s:g} s")
    if not -(1 << 31) <= spec.priority < 1 << 31:
        raise _refuse(f"priority {spec.priority} is outside of -2147483648 to 2147483647")
    if spec.array is not None:
        check_array(spec.array)


def check_group(spec: Spec) -> None:
    """Refuse a limit of no group, or of nothing."""
    if spec.group_limit is not None and (spec.group is None or spec.group_limit < 1):
        raise _refuse("a group limit needs a group and must be at least 1")


def check_array(array: ArraySpec) -> None:
    """Refuse arrays without tasks, with overlapping ranges or a limit below one."""
    if not array.ranges:
        raise _refuse("an array needs at least one task")
    before = -1
    for first, last, step in array.ranges:
        if first <= before or last < first or step < 1 or first < 0:
            raise _refuse(f"array range {first}-{last}:{step} is empty or out of order")
        before = last
    if array.limit is not None and array.limit < 1:
        raise _refuse(f"an array limit must be at least 1, not {array.limit}")


def check_fits(capacity: Capacity, want: Resources) -> None:
    """Refuse a request that the idle machine could not hold, naming what is short."""
    for name, wanted, total in (
        ("cpus", want.cpus, capacity.cpus),
        ("memory_bytes", want.memory_bytes, capacity.memory_bytes),
    ):
        if wanted > total:
            there = phrase.size(total) if name == "memory_bytes" else total
            wants = phrase.amount(name, wanted)
            raise _refuse(f"{wants} wanted, {there} available on this machine")
    counters = dict(capacity.gres)
    for name, wanted in want.gres:
        if name not in counters:
            there = ", ".join(sorted(counters)) or "none"
            raise _refuse(f"resource {name!r} is not known (known: {there})")
        if wanted > counters[name]:
            raise _refuse(f"{wanted} {name} wanted, {counters[name]} available on this machine")
    if want.gpus and capacity.cards is not None:
        cards = Pool(capacity).cards or {}
        strange = [index for index in want.gpus_allowed if index not in cards]
        if strange:
            there = ", ".join(map(str, cards)) or "none"
            raise _refuse(f"there is no gpu {strange[0]} on this machine (there are: {there})")
        suiting = [
            index
            for index, card in cards.items()
            if card.suits(want) and (not want.gpus_allowed or index in want.gpus_allowed)
        ]
        if want.gpus > len(suiting):
            wants = phrase.amount("gpus", want.gpus)
            if len(suiting) < len(cards) and want.gpu_memory_bytes:
                wants += f" with {phrase.size(want.gpu_memory_bytes)}"
            elif len(suiting) < len(cards):
                wants += " of those allowed"
            there = f"{len(suiting)} available on this machine"
            largest = max((card.memory_bytes for card in cards.values()), default=0)
            if want.gpu_memory_bytes > largest > 0:
                there += f" (its largest has {phrase.size(largest)})"
            raise _refuse(f"{wants} wanted, {there}")


def check_dependency(core: Core, dependency: Dependency, ended: Mapping[int, State]) -> None:
    """Refuse conditions that name nothing known."""
    if dependency.type not in DEPENDENCY_TYPES:
        types = ", ".join(DEPENDENCY_TYPES)
        raise _refuse(f"dependency type {dependency.type!r} is not one of {types}")
    if dependency.type != "singleton" and not dependency.jobs:
        raise _refuse(f"dependency {dependency.type} names no job")
    if dependency.delay_s < 0:
        raise _refuse(f"a delay cannot be negative ({dependency.delay_s:g} s)")
    for parent in dependency.jobs:
        if not known(core, parent) and ended.get(parent) not in TERMINAL:
            raise _refuse(f"it depends on job {parent}, which is not known")


def known(core: Core, job_id: int) -> bool:
    """Whether memory knows the state of a job, a task or an array."""
    return core.live.item(job_id) is not None or core.live.array_of(job_id) is not None
