"""Cards and cpus: nothing is given out twice, and the strategies do what they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gflow.model.resources import Capacity, Card, Resources
from gflow.scheduling.cpuset import CpuSet
from gflow.scheduling.placement import place
from gflow.scheduling.pool import Pool
from gflow.scheduling.settings import Settings

_REQUESTS = st.builds(
    Resources,
    cpus=st.integers(1, 4),
    memory_bytes=st.integers(0, 40),
    gpus=st.integers(0, 3),
    gpu_memory_bytes=st.integers(0, 12),
    gpu_shared=st.booleans(),
    gres=st.sampled_from([(), (("license", 1),)]),
    exclusive=st.booleans(),
    gpus_allowed=st.sampled_from([(), (0, 1), (2,)]),
)
_STRATEGIES = st.sampled_from(["sequential", "random", "packed"])
_TOPOLOGIES = st.sampled_from([(), ((0, 1), (2, 3)), ((0, 1, 2),)])


def _machine(memory: int = 10) -> Capacity:
    return Capacity(8, 100, tuple(Card(i, memory) for i in range(4)), (("license", 2),))


@given(st.lists(st.tuples(_REQUESTS, st.booleans()), max_size=40), _STRATEGIES, _TOPOLOGIES)
def test_placement_never_oversubscribes(
    steps: list[tuple[Resources, bool]], strategy: str, topology: tuple[tuple[int, ...], ...]
) -> None:
    """Whatever is placed and freed, no count goes below zero and no card is given out twice."""
    settings = Settings(gpu_strategy=strategy, gpu_topology=topology)
    pool, placed = Pool(_machine()), list[tuple[Resources, tuple[int, ...]]]()
    for seed, (want, end_one) in enumerate(steps):
        if end_one and placed:
            pool.free(*placed.pop(0))
        cards = place(want, (pool,), settings, seed)
        if cards is not None:
            assert len(set(cards)) == want.gpus
            assert not want.gpus_allowed or set(cards) <= set(want.gpus_allowed)
            pool.book(want, cards)
            placed.append((want, cards))
        assert min(pool.cpus, pool.memory_bytes, *pool.gres.values()) >= 0
        assert not pool.exclusive or pool.jobs == 1
        for card in (pool.cards or {}).values():
            assert card.whole + bool(card.shared) <= 1
            assert card.shared_bytes <= card.memory_bytes
    for want, cards in placed:
        pool.free(want, cards)
    fresh = Pool(_machine())
    assert all(getattr(pool, name) == getattr(fresh, name) for name in Pool.__slots__)


@given(_REQUESTS, st.lists(_REQUESTS, max_size=6))
def test_a_fitting_request_is_always_placed(want: Resources, others: list[Resources]) -> None:
    """``fits`` and ``place`` agree for one pool."""
    settings, pool = Settings(), Pool(_machine())
    for seed, other in enumerate(others):
        cards = place(other, (pool,), settings, seed)
        if cards is not None:
            pool.book(other, cards)
    assert (place(want, (pool,), settings, 1) is not None) == pool.fits(want)


def test_shared_jobs_share_only_with_shared_jobs() -> None:
    """A whole card keeps sharers out, a shared one keeps whole jobs out."""
    pool, settings = Pool(_machine()), Settings()
    shared = Resources(gpus=1, gpu_memory_bytes=5, gpu_shared=True)
    pool.book(shared, (0,))
    assert place(shared, (pool,), settings, 1) == (0,)
    pool.book(shared, (0,))
    assert place(shared, (pool,), settings, 1) == (1,)
    assert place(Resources(gpus=1), (pool,), settings, 1) == (1,)


def test_random_is_repeatable_and_spreads() -> None:
    """The job id decides; different jobs land on different cards."""
    pool, settings = Pool(_machine()), Settings(gpu_strategy="random")
    chosen = [place(Resources(gpus=1), (pool,), settings, seed) for seed in range(50)]
    assert chosen == [place(Resources(gpus=1), (pool,), settings, seed) for seed in range(50)]
    assert len(set(chosen)) == 4


def test_packed_fills_shared_cards_first() -> None:
    """Sharers gather on the fullest card that takes them."""
    pool, settings = Pool(_machine()), Settings(gpu_strategy="packed")
    shared = Resources(gpus=1, gpu_memory_bytes=3, gpu_shared=True)
    pool.book(shared, (2,))
    assert place(shared, (pool,), settings, 1) == (2,)


def test_packed_breaks_the_smallest_group() -> None:
    """A single card comes from the group that is broken already, so wide sets stay whole."""
    settings = Settings(gpu_strategy="packed", gpu_topology=((0, 1), (2, 3)))
    pool = Pool(_machine())
    pool.book(Resources(gpus=1), (3,))
    assert place(Resources(gpus=1), (pool,), settings, 1) == (2,)


def test_close_cards_go_together() -> None:
    """Two cards come from one group when one has two free."""
    settings = Settings(gpu_topology=((0, 1), (2, 3)))
    pool = Pool(_machine())
    pool.book(Resources(gpus=1), (0,))
    assert place(Resources(gpus=2), (pool,), settings, 1) == (2, 3)


def test_groups_may_lie_within_groups() -> None:
    """Pairs within fours: two cards are a pair, three come from one four."""
    pairs, fours = ((0, 1), (2, 3), (4, 5), (6, 7)), ((0, 1, 2, 3), (4, 5, 6, 7))
    settings = Settings(gpu_topology=(*pairs, *fours))
    pool = Pool(Capacity(8, 0, tuple(Card(index, 16) for index in range(8))))
    pool.book(Resources(gpus=1), (0,))
    assert place(Resources(gpus=2), (pool,), settings, 1) == (2, 3)
    pool.book(Resources(gpus=1), (2,))
    assert place(Resources(gpus=3), (pool,), settings, 1) == (4, 5, 6)


def test_every_pool_must_accept_the_same_cards() -> None:
    """A job that runs into a reservation takes cards that are free then, too."""
    now, later = Pool(_machine()), Pool(_machine())
    later.book(Resources(gpus=2), (0, 1))
    assert place(Resources(gpus=2), (now, later), Settings(), 1) == (2, 3)
    assert place(Resources(gpus=3), (now, later), Settings(), 1) is None


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=30))
def test_cpus_are_the_lowest_free_ones(steps: list[tuple[int, bool]]) -> None:
    """Each job gets the lowest free indices; none has two holders while there are enough."""
    cpus, held = CpuSet(8), list[tuple[int, ...]]()
    for count, end_one in steps:
        if end_one and held:
            cpus.release(held.pop(0))
        busy = {cpu for ids in held for cpu in ids}
        free = [cpu for cpu in range(8) if cpu not in busy]
        if count <= len(free):
            assert cpus.take(count) == tuple(free[:count])
            held.append(tuple(free[:count]))
