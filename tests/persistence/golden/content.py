"""What the golden stores hold, and how one is made when a schema version is released.

``python -m tests.persistence.golden.content`` writes ``v<version>.db`` for the present version. A
golden store is never written again once its version is released.
"""

from __future__ import annotations

import os

from gflow.model.record import Key, Record
from gflow.persistence import codec, schema, store
from gflow.persistence.store import Store
from tests.persistence.harness import job

FOLDER = os.path.dirname(__file__)

RECORDS: dict[Key, Record] = {
    ("meta", "id_floor"): {"value": 1000},
    ("use", "ada"): {"cpu_s": 12.5},
    ("reservation", 3): {"cpus": 2},
    ("blob", "script"): b"#!/bin/sh\necho hello\n",
    ("job", 1): job(1, script="script"),
    ("job", 2): job(2, "RUNNING", started_at=1500.0),
    ("job", 3): job(3, "COMPLETED", exit_code=0, usage={"cpu_s": 2.0}, started_at=1200.0),
    ("job", 4): job(4, "FAILED", user="bob", project="vision", exit_code=77),
    ("array", 10): {"id": 10, "spec": job(10)["spec"], "state": "PENDING", "size": 3},
    ("job", 11): job(11, "COMPLETED", array_id=10, task=0),
    ("transition", 3, 0): {"at": 1000.0, "from": None, "to": "PENDING", "uid": 1000},
    ("transition", 3, 1): {"at": 1200.0, "from": "PENDING", "to": "RUNNING", "uid": None},
}


def make(path: str) -> None:
    """Write the records into a new store and close it orderly."""
    store.create(path)
    made = Store(path)
    made.begin_session(1)
    made.begin()
    made.apply([codec.encode(key, record) for key, record in RECORDS.items()])
    made.commit()
    made.close(1)


if __name__ == "__main__":
    target = os.path.join(FOLDER, f"v{schema.VERSION}.db")
    assert not os.path.exists(target), f"{target} is there already"
    make(target)
