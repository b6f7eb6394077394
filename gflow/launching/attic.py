"""Run files of forgotten attempts, which are deleted when there is time.

Deleting them at once would be paid for by the jobs that follow: the kernel gives out no inode that
was deleted in the last minute where the file system has no journal (ext4, ``recently_deleted``),
and every new file looks at all of them; a burst of short jobs then spends more time on that than on
everything else.
"""

from __future__ import annotations

import os
from collections import deque

from gflow.launching.place import Place, remove

#: How long no attempt was forgotten before the deleting begins.
_QUIET_S = 5.0
#: Deleted at one time, and how many may be kept however busy it is (4 KB each).
_SLICE, _MOST = 500, 10_000


class Attic:
    """A folder beside the run files; what is in it is nobody's any more."""

    def __init__(self, place: Place) -> None:
        self._folder = f"{place.runs}/.forgotten"
        self._names: deque[str] = deque()
        self._quiet_since_s = 0.0

    def open(self) -> None:
        """Make the folder; what another launcher has left in it is taken over."""
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self._names.extend(os.listdir(self._folder))
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
            self._names.append(name)

    def clear(self, now_s: float) -> None:
        """Delete some, if there is time, or if there are too many."""
        count = len(self._names) if now_s >= self._quiet_since_s + _QUIET_S else 0
        for _ in range(min(_SLICE, max(count, len(self._names) - _MOST))):
            remove(f"{self._folder}/{self._names.popleft()}")
