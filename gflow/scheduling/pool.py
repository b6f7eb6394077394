"""What may still be given out, as counts: the machine now, or as it will be at some moment.

Counts may go below zero: an adopted job is booked even where it oversubscribes, and a capacity may
shrink below what runs. Then nothing new fits until enough has ended.
"""

from __future__ import annotations

from typing import NamedTuple

from gflow.model.resources import Capacity, Resources


class CardUse(NamedTuple):
    """One card and who is on it."""

    #: 0 when the driver does not say.
    memory_bytes: int
    usable: bool
    #: Jobs that have the card to themselves.
    whole: int = 0
    #: Jobs that share it, and what they claim together.
    shared: int = 0
    shared_bytes: int = 0

    def accepts(self, request: Resources) -> bool:
        """Whether one more job of this kind may be put on the card now."""
        if not self.usable or self.whole:
            return False
        if request.gpu_shared:
            return self.shared_bytes + request.gpu_memory_bytes <= self.memory_bytes
        if self.shared:
            return False
        return not self.memory_bytes or request.gpu_memory_bytes <= self.memory_bytes

    def suits(self, request: Resources) -> bool:
        """Whether the card could hold the request if nothing else were on it."""
        if request.gpu_shared or self.memory_bytes:
            return request.gpu_memory_bytes <= self.memory_bytes
        return True


class Pool:
    """Counts of free resources; ``book`` and ``free`` are exact inverses."""

    __slots__ = ("cards", "cpus", "exclusive", "gres", "jobs", "memory_bytes")

    def __init__(self, capacity: Capacity) -> None:
        self.cpus = capacity.cpus
        self.memory_bytes = capacity.memory_bytes
        self.gres = dict(capacity.gres)
        #: None while the cards are not known.
        self.cards: dict[int, CardUse] | None = None
        if capacity.cards is not None:
            self.cards = {
                card.index: CardUse(card.memory_bytes, card.unusable is None)
                for card in sorted(capacity.cards, key=lambda card: card.index)
            }
        #: Jobs booked, and how many of them tolerate nothing beside them.
        self.jobs = 0
        self.exclusive = 0

    def copy(self) -> Pool:
        """An independent pool with the same counts."""
        twin = object.__new__(Pool)
        twin.cpus = self.cpus
        twin.memory_bytes = self.memory_bytes
        twin.gres = self.gres.copy()
        twin.cards = None if self.cards is None else self.cards.copy()
        twin.jobs = self.jobs
        twin.exclusive = self.exclusive
        return twin

    def fits(self, request: Resources) -> bool:
        """Whether the request could be booked without going below zero anywhere."""
        if request.cpus > self.cpus or self.exclusive or (request.exclusive and self.jobs):
            return False
        if request.memory_bytes and request.memory_bytes > self.memory_bytes:
            return False
        if request.gpus:
            if self.cards is None:
                return False
            missing = request.gpus
            allowed = request.gpus_allowed
            for index, card in self.cards.items():
                if card.accepts(request) and (not allowed or index in allowed):
                    missing -= 1
                    if not missing:
                        break
            if missing:
                return False
        if not request.gres:  # as most: asked for each job several times
            return True
        return all(count <= self.gres.get(name, 0) for name, count in request.gres)

    def accepting(self, request: Resources) -> list[int]:
        """Cards that could take the request, in order of index."""
        allowed = request.gpus_allowed
        return [
            index
            for index, card in (self.cards or {}).items()
            if card.accepts(request) and (not allowed or index in allowed)
        ]

    def book(self, request: Resources, gpu_ids: tuple[int, ...]) -> None:
        """Take what the request asks for."""
        self._count(request, gpu_ids, 1)

    def free(self, request: Resources, gpu_ids: tuple[int, ...]) -> None:
        """Give back what :meth:`book` took."""
        self._count(request, gpu_ids, -1)

    def _count(self, request: Resources, gpu_ids: tuple[int, ...], sign: int) -> None:
        self.cpus -= sign * request.cpus
        self.memory_bytes -= sign * request.memory_bytes
        self.jobs += sign
        self.exclusive += sign * request.exclusive
        for name, count in request.gres:
            self.gres[name] = self.gres.get(name, 0) - sign * count
        for index in gpu_ids:
            # A card that vanished under an adopted job is nobody's any more.
            card = (self.cards or {}).get(index)
            if card is None or self.cards is None:
                continue
            if request.gpu_shared:
                card = card._replace(
                    shared=card.shared + sign,
                    shared_bytes=card.shared_bytes + sign * request.gpu_memory_bytes,
                )
            else:
                card = card._replace(whole=card.whole + sign)
            self.cards[index] = card
