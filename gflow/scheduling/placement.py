"""Which cards a job gets: all strategies give the same answer for the same question."""

from __future__ import annotations

from collections.abc import Sequence

from gflow.model.resources import Resources
from gflow.scheduling.pool import Pool
from gflow.scheduling.settings import Settings

_MASK = (1 << 64) - 1


def place(
    request: Resources, pools: Sequence[Pool], settings: Settings, seed: int
) -> tuple[int, ...] | None:
    """Cards for a request that must fit every pool at once; None when it does not.

    The first pool is the machine now; the others are the machine at moments that the job would
    still run at. ``seed`` makes the "random" strategy repeatable.
    """
    cards = common(request, pools)
    if not cards:
        return None if cards is None else ()
    return _choose(request, cards, pools[0], settings, seed)


def common(request: Resources, pools: Sequence[Pool]) -> list[int] | None:
    """Cards that a request may have in every pool; None when it does not fit all of them."""
    for pool in pools:
        if not pool.fits(request):
            return None
    if not request.gpus:
        return []
    cards = pools[0].accepting(request)
    for pool in pools[1:]:
        also = set(pool.accepting(request))
        cards = [index for index in cards if index in also]
    return cards if len(cards) >= request.gpus else None


def _choose(
    request: Resources, cards: list[int], pool: Pool, settings: Settings, seed: int
) -> tuple[int, ...]:
    ranked = _ranked(request, cards, pool, settings, seed)
    groups = [set(group) for group in settings.gpu_topology]
    if not groups or (request.gpus == 1 and settings.gpu_strategy != "packed"):
        return tuple(sorted(ranked[: request.gpus]))
    chosen: list[int] = []
    while len(chosen) < request.gpus:
        left = [index for index in ranked if index not in chosen]
        missing = request.gpus - len(chosen)
        near = [[index for index in left if index in group] for group in groups]
        loose = [index for index in left if not any(index in group for group in groups)]
        near = [members for members in [*near, loose] if members]
        whole = [members for members in near if len(members) >= missing]
        # The tightest group that holds all of it; otherwise as much as possible from one group.
        best = min(whole, key=len) if whole else max(near, key=len)
        chosen += best[:missing]
    return tuple(sorted(chosen))


def _ranked(
    request: Resources, cards: list[int], pool: Pool, settings: Settings, seed: int
) -> list[int]:
    if settings.gpu_strategy == "random":
        return sorted(cards, key=lambda index: _mixed(seed * 1024 + index))
    if settings.gpu_strategy == "packed" and request.gpu_shared:
        known = pool.cards or {}
        return sorted(cards, key=lambda i: (known[i].memory_bytes - known[i].shared_bytes, i))
    return cards


def _mixed(value: int) -> int:
    """The splitmix64 finaliser: neighbouring values end far apart."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
