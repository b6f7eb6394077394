"""Where ids go on: above everything that was ever given out, as far as anything still tells.

The store's own count is the first authority. Beside it stand the marker inside the folder, its copy
outside, and the names of run files and logs: no id is given out twice although the store was lost.
"""

from __future__ import annotations

import os
import re
from typing import Any

from gflow.errors import StoreError
from gflow.persistence import marker

#: ``runs/<job>.<attempt>``, ``logs/<job>.log``, ``logs/<array>_<task>.log``.
_NAME = re.compile(r"(\d{1,15})(?:_(\d{1,15}))?\.")


def parse(value: Any) -> int:
    """The number in the record of an id floor: ``{"value": n}``, or n itself."""
    return int(value["value"]) if isinstance(value, dict) else int(value)


def of_folder(state_dir: str) -> int:
    """Above every id that markers, run files and logs of a state folder know of."""
    return max(_of_markers(state_dir), *(_of_names(state_dir, name) for name in ("runs", "logs")))


def _of_markers(state_dir: str) -> int:
    floors = [1]
    for path in (marker.inside(state_dir), marker.beside(state_dir)):
        try:
            known = marker.read(path)
        except StoreError:
            continue  # damaged: the others must do
        if known is not None:
            floors.append(known.id_floor)
    return max(floors)


def _of_names(state_dir: str, folder: str) -> int:
    try:
        names = os.listdir(os.path.join(state_dir, folder))
    except OSError:
        return 1
    floors = [1]
    for name in names:
        found = _NAME.match(name)
        if found:
            # A task's id is its array's plus its position plus one, and the position is at most
            # the task's number.
            within = 0 if found[2] is None else int(found[2]) + 1
            floors.append(int(found[1]) + within + 1)
    return max(floors)
