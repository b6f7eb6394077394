"""How good predicted starts were: the shape of ``report estimates --json``.

The first start that a job was predicted to have, or that somebody was told, is a fact of the job;
its error is how much later the first attempt began.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from gflow.api.server.turn import Turn
from gflow.supervisor import history, report
from gflow.supervisor.persister_port import PersisterPort

#: Pages of history that are looked at, the latest first, and jobs on each.
_PAGES, _PAGE_JOBS = 40, 500
#: An error up to this is none.
ON_TIME_S = 60.0

Row = dict[str, Any]


def error_s(record: Row) -> float | None:
    """Seconds from the predicted to the real first start; None when one of them is not known."""
    predicted, started = record.get("predicted_start_at"), record.get("started_at")
    for attempt in record.get("attempts") or ():
        if attempt.get("started_at") is not None:
            started = attempt["started_at"]
            break
    return None if predicted is None or started is None else float(started - predicted)


async def rows(persister: PersisterPort, by: Sequence[str], filters: dict[str, Any]) -> Row:
    """``{"by", "rows", "looked_at", "complete"}``; ``filters`` as those of history. In short turns.

    A row: its group's names, ``jobs``, ``on_time`` (within a minute), ``early``, ``late`` (counts),
    ``median_error_s`` (later is above 0), ``median_s`` and ``p90_s`` of the errors' sizes.
    """
    report.check_groups(by)
    found: dict[tuple[str, ...], list[float]] = {}
    looked_at, complete, turn = 0, True, Turn()
    asked = {**filters, "kind": "job", "limit": _PAGE_JOBS}
    async for answer in history.pages(persister, asked, _PAGES):
        looked_at += len(answer.records)
        for _, record in answer.records:
            assert isinstance(record, dict)
            error = error_s(record)
            if error is not None:
                found.setdefault(tuple(_group(record, name) for name in by), []).append(error)
            await turn.breathe()
        complete = answer.value.get("cursor") is None
    made = [_row(by, key, errors) for key, errors in sorted(found.items())]
    return {"by": list(by), "rows": made, "looked_at": looked_at, "complete": complete}


def _group(record: Row, name: str) -> str:
    if name == "state":
        return str(record.get("state") or "")
    if name == "day":
        return time.strftime("%Y-%m-%d", time.gmtime(record.get("finished_at") or 0.0))
    return str((record.get("spec") or {}).get(name) or "")


def _row(by: Sequence[str], key: tuple[str, ...], errors: list[float]) -> Row:
    sizes = sorted(map(abs, errors))
    early = sum(error < -ON_TIME_S for error in errors)
    late = sum(error > ON_TIME_S for error in errors)
    return {
        **dict(zip(by, key)),
        "jobs": len(errors),
        "on_time": len(errors) - early - late,
        "early": early,
        "late": late,
        "median_error_s": round(_quantile(sorted(errors), 0.5), 3),
        "median_s": round(_quantile(sizes, 0.5), 3),
        "p90_s": round(_quantile(sizes, 0.9), 3),
    }


def _quantile(ordered: list[float], share: float) -> float:
    """The value below which that share lies, by the nearest rank."""
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]
