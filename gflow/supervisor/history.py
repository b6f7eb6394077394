"""Reading what the store keeps of ended jobs, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from gflow.persistence.message import Answer
from gflow.supervisor.persister_port import PersisterPort


async def pages(
    persister: PersisterPort, asked: dict[str, Any], most: int | None = None
) -> AsyncIterator[Answer]:
    """Answers to a history query, the latest end first; at most so many of them. Raises Refused.

    The last one has no ``cursor`` in its value, unless there would be more.
    """
    cursor: Any = None
    count = 0
    while most is None or count < most:
        answer = await persister.query("history", {**asked, "cursor": cursor})
        yield answer
        cursor = answer.value.get("cursor")
        if cursor is None:
            return
        count += 1
