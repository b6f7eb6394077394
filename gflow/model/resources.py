"""What a job asks for and what a machine has."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter


class _Hashed:
    """Room for a hash that is worked out once: the queue asks for it all the time."""

    __slots__ = ("_hash",)
    _hash: int


@dataclass(slots=True, frozen=True)
class Resources(_Hashed):
    """A request. Hashable: pending jobs with equal requests form one class of the queue."""

    cpus: int = 1
    #: 0 claims no memory.
    memory_bytes: int = 0
    gpus: int = 0
    #: Memory claimed on each card; 0 claims none (a whole card then).
    gpu_memory_bytes: int = 0
    #: Shares its cards with other shared jobs, as far as ``gpu_memory_bytes`` sums allow.
    gpu_shared: bool = False
    #: Named counters, sorted by name: (("license", 2),).
    gres: tuple[tuple[str, int], ...] = ()
    #: Nothing else may run beside it.
    exclusive: bool = False
    #: Card indices it accepts; empty means any.
    gpus_allowed: tuple[int, ...] = ()

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            object.__setattr__(self, "_hash", hash(_VALUES(self)))
            return self._hash


_VALUES = attrgetter(*Resources.__dataclass_fields__)


@dataclass(slots=True, frozen=True)
class Card:
    """One GPU as the scheduler sees it."""

    index: int
    memory_bytes: int = 0
    uuid: str | None = None
    name: str | None = None
    #: Why it may not be given out (foreign process, quarantine); None when it may.
    unusable: str | None = None


@dataclass(slots=True, frozen=True)
class Capacity:
    """What may be given out in total."""

    cpus: int
    memory_bytes: int
    #: None while cards are not known yet: jobs that want some wait with ``GpusUnknown``.
    cards: tuple[Card, ...] | None = ()
    gres: tuple[tuple[str, int], ...] = ()
