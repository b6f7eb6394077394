"""Names of what is persisted.

A key is a tuple: a kind and what tells its records apart.

============================  ==============================  ================================
key                           record                          lives until
============================  ==============================  ================================
``("job", id)``               facts of a Job                  history retention ends
``("array", id)``             facts of an Array               history retention ends
``("transition", id, n)``     one transition, written once    its job's history row goes
``("blob", hash)``            bytes: script or environment    no job names it any more
``("meta", name)``            a JSON value (id floor, …)      replaced
``(other, id)``               quotas, reservations, use, …    deleted
============================  ==============================  ================================

A job's or array's record holds ``"final": true`` when its state is terminal: the store moves it
from the live table to history in the same transaction, and back when it is requeued.
"""

from __future__ import annotations

from typing import Any

Key = tuple[str | int, ...]
#: JSON object; bytes for blobs; None deletes.
Record = dict[str, Any] | bytes | None
