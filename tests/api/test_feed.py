from __future__ import annotations

from gflow.api.feed import Feed


def published(feed: Feed, count: int) -> None:
    for number in range(count):
        feed.publish({"type": "job", "n": number})


def test_events_after_an_id_come_in_order() -> None:
    """A reader that names the last id it saw gets what came later, oldest first."""
    feed = Feed("s")
    published(feed, 5)
    batch = feed.after("s-2", 2)
    assert batch is not None
    assert [(event_id, event["n"]) for event_id, event in batch] == [("s-3", 2), ("s-4", 3)]


def test_nothing_new_is_an_empty_list() -> None:
    """The newest id has nothing after it."""
    feed = Feed("s")
    published(feed, 3)
    assert feed.after(feed.last_id, 10) == []


def test_an_id_that_left_the_ring_is_told() -> None:
    """Memory is bounded; who is too late learns that something was missed."""
    feed = Feed("s", capacity=3)
    published(feed, 5)
    assert feed.after("s-1", 10) is None
    assert feed.after("s-2", 10) is not None


def test_ids_of_another_start_or_of_the_future_are_told() -> None:
    """Ids of another run of the supervisor, or never given out, mean that something was missed."""
    feed = Feed("s")
    published(feed, 2)
    for last_id in ("t-1", "s-3", "s-", "", "s-1x", "s-٣", "1"):
        assert feed.after(last_id, 10) is None


def test_listeners_are_woken_until_they_leave() -> None:
    """Each event wakes each listener once."""
    feed = Feed("s")
    woken: list[int] = []

    def wake() -> None:
        woken.append(1)

    feed.listen(wake)
    published(feed, 2)
    feed.leave(wake)
    published(feed, 2)
    assert len(woken) == 2
