"""Run files that nobody will let go: of attempts whose job the store does not know, or has ended.

The launcher deletes a run file once the final record is durable; what was just started, or has
just ended, is in between and younger than a minute.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from gflow.persistence import codec, history
from gflow.persistence.codec import DamagedRecord
from gflow.persistence.store import Store

_NAME = re.compile(r"(\d{1,15})\.(\d{1,15})")
_SLICE = 100
_SETTLED_S = 60.0


def leftovers(store: Store, now_at: float) -> Iterator[str | None]:
    """A sentence for each; None at the end of a slice. ``now_at`` is the wall clock."""
    folder = os.path.join(os.path.dirname(store.path), "runs")
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for number, name in enumerate(names, 1):
        if number % _SLICE == 0:
            yield None
        found = _NAME.fullmatch(name)
        if found is None or not _is_settled(os.path.join(folder, name), now_at):
            continue
        cause = _cause(store, int(found[1]))
        if cause is not None:
            yield f"run file {os.path.join('runs', name)}: {cause}"


def _is_settled(path: str, now_at: float) -> bool:
    try:
        return os.lstat(path).st_ctime < now_at - _SETTLED_S
    except OSError:
        return False  # it has just gone


def _cause(store: Store, job_id: int) -> str | None:
    item = history.job(store, job_id)
    if item is None:
        return "its job is not in the store"
    try:
        record = codec.decode(item)
    except DamagedRecord:
        return None  # told for itself
    if not isinstance(record, dict) or not record.get("final"):
        return None
    if (record.get("spec") or {}).get("on_end") is not None:
        return None  # the submitter's own line may run for long
    return "its job has ended"
