"""Run files of forgotten attempts: spares for those to come, or deleted when there is time.

A new inode can cost a short job more than all else together: where a file system has no journal the
kernel gives out none that was deleted in the last minutes, and every new file looks at all of them
(ext4, ``recently_deleted``; 1.1 ms against 0.2 ms for a file that is used again). So a file goes
from attempt to attempt while short jobs follow each other, and what is too much is not deleted
before the burst is over.
"""

from __future__ import annotations

import os
from collections import deque

from gflow.launching import runfile
from gflow.launching.place import Place, remove

#: How long no attempt was forgotten before the deleting begins.
_QUIET_S = 5.0
#: Deleted at one time, and how many may be kept however busy it is (4 KB each).
_SLICE, _MOST = 500, 10_000
#: Kept for the next burst.
_SPARES = 256
#: The shim of a forgotten attempt may hold its file for a moment (see ``arrears``).
_RESTING_S = 0.2


class Attic:
    """A folder beside the run files; what is in it is nobody's any more."""

    def __init__(self, place: Place) -> None:
        self._folder = f"{place.runs}/{runfile.SPARES}"
        #: Names, and when they were put here (monotonic), oldest first.
        self._files: deque[tuple[str, float]] = deque()
        self._quiet_since_s = 0.0

    def open(self) -> None:
        """Make the folder; what another launcher has left in it is taken over."""
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self._files.extend((name, 0.0) for name in os.listdir(self._folder))
        except OSError:
            pass  # files are deleted at once then

    def put(self, path: str, now_s: float) -> None:
        """The file is gone from its place, now; ``now_s`` is monotonic."""
        self._quiet_since_s = now_s
        name = os.path.basename(path)
        try:
            os.rename(path, f"{self._folder}/{name}")
        except OSError:
            remove(path)
        else:
            self._files.append((name, now_s))

    def take(self, now_s: float) -> str | None:
        """The path of a file for another attempt, which is no care of the attic's any more.

        None: there is none that is certainly free.
        """
        if not self._files or now_s < self._files[0][1] + _RESTING_S:
            return None
        return f"{self._folder}/{self._files.popleft()[0]}"

    def clear(self, now_s: float) -> None:
        """Delete some: what is too much when there is time, what is far too much at once."""
        most = _SPARES if now_s >= self._quiet_since_s + _QUIET_S else _MOST
        for _ in range(min(_SLICE, len(self._files) - most)):
            remove(f"{self._folder}/{self._files.popleft()[0]}")
