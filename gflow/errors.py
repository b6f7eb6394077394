"""What can go wrong in ways that a user is told about. Imports nothing, may be imported by all.

Programmer errors are assertions and crash; operating errors become events at the adapter that saw
them; only refused requests travel as exceptions, and this module names them.
"""

from __future__ import annotations

from typing import ClassVar


class Refused(Exception):
    """A request that cannot be granted; nothing has changed.

    ``kind`` is one of the class constants, ``str(error)`` is one sentence for people, lower case:
    "cannot <verb> <thing>: <cause>".
    """

    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"

    #: The HTTP status that carries each kind (DESIGN, section 7).
    HTTP_STATUS: ClassVar[dict[str, int]] = {
        INVALID: 400,
        FORBIDDEN: 403,
        NOT_FOUND: 404,
        CONFLICT: 409,
        TOO_LARGE: 413,
        UNAVAILABLE: 503,
    }

    def __init__(self, kind: str, message: str) -> None:
        assert kind in self.HTTP_STATUS, kind
        super().__init__(message)
        self.kind = kind


class ConfigError(Exception):
    """The configuration cannot be used; the message names file and key."""


class StoreError(Exception):
    """The store cannot be opened; the message names the file, what was found and what to do."""
