"""Memory of several processes: what is shared counts once, also while they come and go."""

from __future__ import annotations

import os

from gflow.monitoring.memory import Share, above, share

_MB = 1 << 20


class Looks:
    """Answers of one look after the other; each is by pid, None for who is gone."""

    def __init__(self, *looks: dict[int, Share | None]) -> None:
        self._looks = [dict(look) for look in looks]

    def __call__(self, pid: int, rss_bytes: int) -> Share | None:
        while pid not in self._looks[0]:
            self._looks.pop(0)
        return self._looks[0].pop(pid)


def shared(megabytes: int) -> Share:
    """All of it is shared."""
    return Share(megabytes * _MB, 0)


def test_what_is_private_counts_at_once() -> None:
    """Nothing that another process does makes it less."""
    look = Looks({1: Share(200 * _MB, 200 * _MB), 2: None})
    assert above(100 * _MB, {1: 0, 2: 0}, look) == 200 * _MB


def test_readers_that_end_meanwhile_are_no_excess() -> None:
    """Three share 150 MB: each that ends leaves more to those that are looked at after it."""
    look = Looks({1: shared(50), 2: shared(75), 3: shared(150)}, {1: None, 2: None, 3: shared(150)})
    assert above(160 * _MB, dict.fromkeys((1, 2, 3), 150 * _MB), look) is None


def test_who_is_gone_has_nothing() -> None:
    """Not what was resident a moment ago."""
    look = Looks({1: None, 2: shared(150)})
    assert above(160 * _MB, {1: 150 * _MB, 2: 150 * _MB}, look) is None


def test_two_looks_in_a_row_that_agree_are_an_excess() -> None:
    """Shared memory that is too much for all together."""
    still = {1: shared(100), 2: shared(100)}
    assert above(150 * _MB, {1: 0, 2: 0}, Looks(still, still)) == 200 * _MB


def test_nothing_is_said_while_they_come_and_go() -> None:
    """The next sample tells."""
    looks = [{pid: shared(100) if pid > n else None for pid in range(n, 9)} for n in range(1, 5)]
    assert above(150 * _MB, dict.fromkeys(range(1, 9), 0), Looks(*looks)) is None


def test_a_process_has_its_own_pages() -> None:
    """This one has some, and no more of them than its share."""
    found = share(os.getpid(), 0)
    assert found is not None and 0 < found.private_bytes <= found.proportional_bytes


def test_a_process_that_is_gone_has_no_share() -> None:
    """Neither has one that only waits to be reaped."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert share(pid, 100) is None
    os.waitpid(pid, 0)
    assert share(pid, 100) is None
