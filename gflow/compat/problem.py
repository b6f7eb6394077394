"""Requests that cannot be granted, with the status codes of the reference."""

from __future__ import annotations


class Problem(Exception):
    """Answered with ``status`` and ``{"error": text}``; nothing has changed.

    ``empty``: the body is ``null``, as the reference answers about jobs that do not exist.
    ``plain``: the body is the text itself, as the reference answers about reservations.
    """

    def __init__(self, status: int, text: str, *, empty: bool = False, plain: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.empty = empty
        self.plain = plain
