"""Which cpus are whose: lowest free ones first, so that jobs do not fight for cores."""

from __future__ import annotations


class CpuSet:
    """How many jobs hold each cpu; more than one only where adoption oversubscribed."""

    __slots__ = ("_free", "_holders")

    def __init__(self, cpus: int) -> None:
        self._holders = [0] * cpus
        #: Bit i is set when nobody holds cpu i.
        self._free = (1 << cpus) - 1

    def take(self, count: int) -> tuple[int, ...]:
        """The lowest ``count`` free cpus, booked; busy ones only when no free one is left."""
        chosen: list[int] = []
        free = self._free
        while free and len(chosen) < count:
            lowest = free & -free
            chosen.append(lowest.bit_length() - 1)
            free ^= lowest
        if len(chosen) < count:
            taken = set(chosen)
            busy = (cpu for cpu in range(len(self._holders)) if cpu not in taken)
            chosen += [cpu for _, cpu in zip(range(count - len(chosen)), busy)]
        self.hold(tuple(chosen))
        return tuple(chosen)

    def hold(self, cpu_ids: tuple[int, ...]) -> None:
        """Book these cpus, whoever else holds them; unknown ones are nobody's business."""
        for cpu in cpu_ids:
            if cpu < len(self._holders):
                self._holders[cpu] += 1
                self._free &= ~(1 << cpu)

    def release(self, cpu_ids: tuple[int, ...]) -> None:
        """Give back what ``take`` or ``hold`` booked."""
        for cpu in cpu_ids:
            if cpu < len(self._holders):
                self._holders[cpu] -= 1
                if not self._holders[cpu]:
                    self._free |= 1 << cpu
