"""Questions about ended jobs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.model.record import Key, Record
from gflow.persistence import codec, history
from gflow.persistence.history import Cursor, Filter, Search
from gflow.persistence.store import Store
from tests.persistence.harness import job
from tests.persistence.test_store import fresh, write

USERS = ("ada", "bob", "eve")
STATES = ("COMPLETED", "FAILED", "CANCELLED")


def make_records() -> dict[int, dict[str, Any]]:
    """Three hundred ended jobs of all kinds, some of them at the same moment."""
    dice = random.Random(7)
    return {
        id: job(
            id,
            dice.choice(STATES),
            user=dice.choice(USERS),
            name=f"train-{id % 7}",
            project=dice.choice([None, "vision"]),
            finished_at=float(dice.randrange(100)),
            array_id=1000 if id % 5 == 0 else None,
        )
        for id in range(1, 301)
    }


RECORDS = make_records()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with these jobs."""
    store = fresh(str(tmp_path_factory.mktemp("history") / "state.db"))
    batch: dict[Key, Record] = {("job", id): record for id, record in RECORDS.items()}
    write(store, batch)
    return store


def pages(
    store: Store, filter: Filter, limit: int = history.MAX_PAGE, stretch: int = 1000
) -> list[list[int]]:
    """Ids of all pages."""
    found: list[list[int]] = []
    cursor: Cursor | None = None
    while True:
        search = Search(store, filter, limit, cursor)
        search._stretch = stretch
        for _ in search.slices():
            pass
        found.append([int(item.key[1]) for item in search.items])
        cursor = search.cursor
        if cursor is None:
            return found


def ids(store: Store, **filter: Any) -> list[int]:
    """All ids that fit."""
    return [id for page in pages(store, Filter(**filter)) for id in page]


def expected(**wanted: Any) -> list[int]:
    """What a plain look at the records finds, newest first."""
    fitting = [
        record
        for record in RECORDS.values()
        if all(record["spec"].get(name, record.get(name)) == v for name, v in wanted.items())
    ]
    fitting.sort(key=lambda record: (record["finished_at"], record["id"]), reverse=True)
    return [record["id"] for record in fitting]


def test_all_come_newest_first(store: Store) -> None:
    """Without a filter everything comes, latest end first."""
    assert ids(store) == expected()


@pytest.mark.parametrize(
    "filter", [{"user": "bob"}, {"project": "vision"}, {"user": "eve", "project": "vision"}]
)
def test_filters_by_value(store: Store, filter: dict[str, str]) -> None:
    """Filters by user and project, together too."""
    assert ids(store, **{f"{name}s": (value,) for name, value in filter.items()}) == expected(
        **filter
    )


def test_several_states(store: Store) -> None:
    """A list of states matches any of them."""
    wanted = [id for id in expected() if RECORDS[id]["state"] != "COMPLETED"]
    assert ids(store, states=("FAILED", "CANCELLED")) == wanted


def test_names_are_patterns(store: Store) -> None:
    """A name filter is a list of shell patterns, one of which matches."""
    wanted = [id for id in expected() if RECORDS[id]["spec"]["name"] in ("train-3", "train-4")]
    assert ids(store, names=("*-3", "*-[4]")) == wanted


def test_a_span_of_time_is_half_open(store: Store) -> None:
    """Ended at or after ``since`` and before ``until``."""
    wanted = [id for id in expected() if 20 <= RECORDS[id]["finished_at"] < 40]
    assert ids(store, since=20.0, until=40.0) == wanted


def test_by_ids(store: Store) -> None:
    """Chosen ids come newest id first; unknown ones are left out."""
    assert ids(store, ids=(3, 200, 5, 9999)) == [200, 5, 3]


def test_tasks_of_an_array(store: Store) -> None:
    """Tasks of one array come by id, the last first, and other filters apply."""
    tasks = [id for id in sorted(RECORDS, reverse=True) if id % 5 == 0]
    assert ids(store, array_id=1000) == tasks
    wanted = [id for id in tasks if RECORDS[id]["state"] == "FAILED"]
    assert ids(store, array_id=1000, states=("FAILED",)) == wanted


@settings(max_examples=30, deadline=None)
@given(
    limit=st.integers(1, 60),
    stretch=st.integers(1, 80),
    filter=st.sampled_from(
        [Filter(), Filter(users=("ada",)), Filter(array_id=1000), Filter(since=30.0, until=70.0)]
    ),
)
def test_pages_make_the_whole(store: Store, limit: int, stretch: int, filter: Filter) -> None:
    """However pages and slices fall, nothing is missed and nothing comes twice."""
    whole = [id for page in pages(store, filter) for id in page]
    found = pages(store, filter, limit, stretch)
    assert [id for page in found for id in page] == whole
    assert all(len(page) <= limit for page in found)


def test_a_filter_that_fits_nothing_is_cut_into_slices(store: Store) -> None:
    """Work is bounded by what is looked at, not by what is found."""
    search = Search(store, Filter(users=("nobody",)))
    search._stretch = 50
    assert sum(1 for _ in search.slices()) >= 1
    assert search.items == [] and search.cursor is None


def test_a_job_is_found_by_id(store: Store) -> None:
    """A record by its id, whole."""
    found = history.job(store, 17)
    assert found is not None
    assert codec.decode(found) == RECORDS[17]


def test_many_values_are_no_deep_expression(store: Store) -> None:
    """Thousands of users and patterns: SQLite bounds the depth of what it is asked."""
    users = (*(f"user{number}" for number in range(5_000)), "ada")
    names = (*(f"x{number}*" for number in range(5_000)), "train-3")
    found = pages(store, Filter(users=users, names=names))
    wanted = {i for i, one in RECORDS.items() if one["spec"]["user"] == "ada" and i % 7 == 3}
    assert {job_id for page in found for job_id in page} == wanted
    assert wanted
