"""Jobs below those they depend on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from gflow.api import dialect

Record = dict[str, Any]

#: Lines that are deeper are indented no further: a long chain would fill the memory with blanks.
_DEEPEST = 60


class Branch(NamedTuple):
    """One line: a job, or a hint at a job that stands elsewhere (``see``)."""

    prefix: str
    record: Record | None
    see: int | None = None


class _Child(NamedTuple):
    record: Record | None
    see: int | None
    #: The job was made from its parent by redo; it does not depend on it.
    redone: bool


def branches(records: list[Record]) -> Iterator[Branch]:
    """Lines of the tree, roots in the order of their ids. A job stands once, below its first
    parent; its other parents have a hint at it."""
    known = {one["id"]: one for one in sorted(records, key=lambda one: int(one["id"]))}
    children: dict[int, list[_Child]] = {job_id: [] for job_id in known}
    roots = []
    for job_id, record in known.items():
        parents = [p for p in dialect.parent_ids(record) if p in known and p != job_id]
        origin = dialect.label_number(record, "redone_from") or 0
        if parents:
            children[parents[0]].append(_Child(record, None, False))
        elif origin in known and origin != job_id:
            children[origin].append(_Child(record, None, True))
        else:
            roots.append(record)
        for parent in parents[1:]:
            children[parent].append(_Child(None, job_id, False))
        if parents and origin in known and origin not in parents:
            children[origin].append(_Child(None, job_id, True))
    seen: set[int] = set()
    for root in roots:
        yield from _below(root, children, seen)


def _below(root: Record, children: dict[int, list[_Child]], seen: set[int]) -> Iterator[Branch]:
    """Depth first, without recursion: chains may be long."""
    stack: list[tuple[str, str, _Child]] = [("", "", _Child(root, None, False))]
    while stack:
        indent, glyph, child = stack.pop()
        yield Branch(indent + glyph, child.record, child.see)
        if child.record is None:
            continue
        job_id = child.record["id"]
        if job_id in seen:
            continue
        seen.add(job_id)
        deeper = indent
        if glyph and len(indent) < 2 * _DEEPEST:
            deeper += "  " if glyph[0] == "╰" else "│ "
        below = children[job_id]
        for at in range(len(below) - 1, -1, -1):
            corner = "╰" if at == len(below) - 1 else "├"
            stack.append((deeper, corner + ("┄" if below[at].redone else "─"), below[at]))
