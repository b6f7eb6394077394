"""Records of made-up jobs, and state folders that hold very many of them from the start."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from gflow.model.job import Job, Spec
from gflow.model.resources import Resources
from gflow.model.state import State
from gflow.persistence import codec as store_codec
from gflow.persistence.setting import store_path
from gflow.persistence.store import Store, create
from gflow.scheduling import codec

Record = dict[str, Any]

#: Epoch seconds at which the made-up jobs began to be submitted.
_BEGAN_AT = 1_750_000_000.0
_BATCH = 10_000


def spec(number: int, **fields: Any) -> Spec:
    """One of a hundred users, one of two hundred requests."""
    user = number % 100
    want = Resources(cpus=1 + number % 10, memory_bytes=(1 + number % 20) << 30)
    given: Record = {
        "name": f"train-{number % 1000}",
        "user": f"user{user:02}",
        "uid": 10_000 + user,
        "gid": 10_000 + user,
        "command": ("python", "train.py", "--lr", f"{number % 7}e-4", "--seed", str(number)),
        "cwd": f"/home/user{user:02}/experiments/run-{number % 50}",
        "resources": want,
        "time_limit_s": 3600.0 * (1 + number % 24),
        **fields,
    }
    return Spec(**given)


def waiting(number: int, **fields: Any) -> Record:
    """The record of a pending job with this id."""
    known = _pending(number % 1000) if not fields else codec.encode(_job(number, **fields))
    return {**known, "id": number, "submitted_at": _BEGAN_AT + number}


@cache
def _pending(number: int) -> Record:
    return codec.encode(_job(number))


def _job(number: int, hold: str | None = None, **fields: Any) -> Job:
    job = Job(number, spec(number, **fields), _BEGAN_AT + number, hold=hold)
    job.eligible_at = None if hold else _BEGAN_AT + number
    return job


def active(number: int) -> Record:
    """The record of the same job while it runs."""
    record = waiting(number)
    at = _BEGAN_AT + number + 10.0
    started = {"state": str(State.RUNNING), "attempt": 1, "started_at": at, "cpu_ids": [0, 1]}
    return {**record, **started, "eligible_at": _BEGAN_AT + number}


def ended(number: int) -> Record:
    """The record of the same job at its end."""
    usage = {"cpu_s": 12.5, "user_s": 12.0, "system_s": 0.5, "max_rss_bytes": 1 << 28}
    end = {"finished_at": _BEGAN_AT + number + 500.0, "exit_code": 0, "usage": usage}
    return {**active(number), **end, "state": str(State.COMPLETED), "final": True}


def fill(
    state_dir: Path,
    *,
    finished: int = 0,
    live: int = 0,
    hold: str | None = None,
    runnable: bool = False,
) -> None:
    """Make a store with so many finished and pending jobs (ids from 1, finished ones first).

    The pending ones each want one cpu; ``hold`` keeps them all from starting. None has a folder to
    run in, unless they are ``runnable``: then they sleep until somebody ends them.
    """
    state_dir.mkdir(mode=0o700, parents=True)
    path = store_path(str(state_dir))
    create(path)
    store = Store(path, relaxed=True)
    records = _records(finished, live, hold, runnable)
    while _insert(store, records):
        pass
    store.begin()
    floor = {"value": finished + live + 1}
    store.apply([store_codec.encode(("meta", "id_floor"), floor)])
    store.commit()
    store.close(0)


def _insert(store: Store, records: Iterator[Record]) -> bool:
    """One large transaction; whether there may be more."""
    batch = islice(records, _BATCH)
    items = [store_codec.encode(("job", record["id"]), record) for record in batch]
    store.begin()
    store.apply(items)
    store.commit()
    return len(items) == _BATCH


def _records(finished: int, live: int, hold: str | None, runnable: bool) -> Iterator[Record]:
    for number in range(1, finished + 1):
        yield ended(number)
    for number in range(finished + 1, finished + live + 1):
        where = {"cwd": "/"} if runnable else {}
        asked = {"resources": Resources(), "command": ("sleep", "1000"), **where}
        yield waiting(number, hold=hold, **asked)
