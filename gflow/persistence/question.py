"""What the supervisor may ask the store, and how each answer is made in slices.

A question is a generator: it yields an answer frame, or None when it has worked long enough for one
slice. Every read record is checked; a damaged one is left out, and the answer says so
(``damaged``); one found in history is set aside at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gflow.errors import Refused
from gflow.persistence import codec, history, summary
from gflow.persistence.codec import DamagedRecord, Item
from gflow.persistence.store import Store

_FRAME_RECORDS = 100
#: Rows of sums in one answer.
_MAX_SUMS = 10_000

Steps = Iterator[bytes | None]


def answer(store: Store, id: int, what: str, args: dict[str, Any]) -> Steps:
    """The steps that answer one query."""
    return _QUESTIONS[what](store, id, args)


def value_frame(id: int, value: Any) -> bytes:
    """A complete answer that is a JSON value."""
    return codec.encode_frame("answer", id=id, value=value)


def error_frame(id: int, sentence: str, kind: str = Refused.UNAVAILABLE) -> bytes:
    """A complete answer that is a refusal; ``kind`` is one of Refused's."""
    return codec.encode_frame("answer", id=id, error=sentence, kind=kind)


def _records(id: int, items: list[Item], **value: Any) -> Steps:
    """Send records in frames; the last one carries the value, and names what was damaged."""
    good, damaged = _sorted_out(items)
    if damaged:
        value["damaged"] = [{"key": list(item.key), "reason": text} for item, text in damaged]
    while len(good) > _FRAME_RECORDS:
        yield codec.encode_frame("answer", good[:_FRAME_RECORDS], id=id, more=True)
        good = good[_FRAME_RECORDS:]
    yield codec.encode_frame("answer", good, id=id, value=value)


def _sorted_out(items: list[Item]) -> tuple[list[Item], list[tuple[Item, str]]]:
    """Items that are whole, and those that are not with the reason."""
    good: list[Item] = []
    damaged: list[tuple[Item, str]] = []
    for item in items:
        try:
            codec.verify(item)
        except DamagedRecord as error:
            damaged.append((item, str(error)))
        else:
            good.append(item)
    return good, damaged


def _history(store: Store, id: int, args: dict[str, Any]) -> Steps:
    cursor = args.pop("cursor", None)
    limit = args.pop("limit", 100)
    for name in ("users", "states", "names", "projects", "ids"):
        if args.get(name) is not None:
            args[name] = tuple(args[name])
    search = history.Search(
        store, history.Filter(**args), limit, tuple(cursor) if cursor is not None else None
    )
    yield from search.slices()
    rows = [
        store.quarantine("history", item.key, "id", item.key[1], reason)
        for item, reason in _sorted_out(search.items)[1]
    ]
    if rows:
        yield codec.encode_frame("quarantined", rows=rows)
    yield from _records(id, search.items, cursor=search.cursor)


def _job(store: Store, id: int, args: dict[str, Any]) -> Steps:
    found = history.job(store, args["id"])
    yield from _records(id, [] if found is None else [found])


def _transitions(store: Store, id: int, args: dict[str, Any]) -> Steps:
    items = history.transitions(store, args["id"], args.get("after", -1))
    yield from _records(id, items, more=len(items) == history.MAX_PAGE)


def _blob(store: Store, id: int, args: dict[str, Any]) -> Steps:
    found = history.blob(store, args["hash"])
    yield from _records(id, [] if found is None else [found])


def _summary(store: Store, id: int, args: dict[str, Any]) -> Steps:
    report = summary.Report(store.connection, **args)
    yield from report.slices()
    rows = report.rows
    if len(rows) > _MAX_SUMS:
        sentence = f"cannot report: {len(rows)} rows are too many for one answer"
        yield error_frame(id, sentence, Refused.TOO_LARGE)
    else:
        yield value_frame(id, rows)


def _info(store: Store, id: int, args: dict[str, Any]) -> Steps:
    yield value_frame(id, store.figures())


_QUESTIONS: dict[str, Callable[[Store, int, dict[str, Any]], Steps]] = {
    "history": _history,
    "job": _job,
    "transitions": _transitions,
    "blob": _blob,
    "summary": _summary,
    "info": _info,
}
