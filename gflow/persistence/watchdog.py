"""How well the persister does, judged from when things were sent, answered and lost.

Verdicts are values; what to do about them (look at the process, continue it, replace it) is the
supervisor's business. The caller brings the clock: any monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

#: A batch may take this long before it is worth a word (DESIGN, section 2).
LAGGING_S = 2.0
#: Without a sign of life for this long, the process must be looked at.
STALLED_S = 10.0
#: This many deaths within the window mean that replacing alone does not help.
DEATHS = 5
WINDOW_S = 60.0
_LONGEST_DELAY_S = 5.0


class Health(StrEnum):
    """The verdict. Each is worse than the one before it."""

    OK = "ok"
    #: The batch in flight, or the oldest change, is older than 2 s.
    LAGGING = "lagging"
    #: No sign of life for 10 s while a batch is in flight: look at the process.
    STALLED = "stalled"
    #: It cannot save (disk full, I/O errors), or dies again and again.
    DEGRADED = "degraded"


class Watchdog:
    """Remembers when the process last gave a sign, and how often it died."""

    def __init__(self) -> None:
        self._sent_s: float | None = None
        self._sign_s = 0.0
        self._deaths: deque[float] = deque(maxlen=64)
        self._deaths_unanswered = 0
        self._down = False
        #: Kind of the present trouble ("no_space", "io", …); None: there is none.
        self.trouble: str | None = None
        #: Deaths so far.
        self.restarts = 0

    def sent(self, now_s: float) -> None:
        """A batch went out."""
        self._sent_s = now_s
        self._sign_s = now_s

    def sign(self, now_s: float) -> None:
        """Something was heard."""
        self._sign_s = now_s

    def acknowledged(self) -> None:
        """The batch in flight is answered."""
        self._sent_s = None
        self._deaths_unanswered = 0

    def died(self, now_s: float) -> None:
        """The process is gone."""
        self._sent_s = None
        self._down = True
        self.trouble = None
        self._deaths.append(now_s)
        self._deaths_unanswered += 1
        self.restarts += 1

    def restarted(self) -> None:
        """There is a new process."""
        self._down = False

    def _recent_deaths(self, now_s: float) -> int:
        return sum(1 for died_s in self._deaths if now_s - died_s < WINDOW_S)

    def respawn_delay_s(self, now_s: float) -> float:
        """How long to wait before replacing it: 0 at first, doubling, at most 5 s."""
        recent = self._recent_deaths(now_s)
        unanswered = min(self._deaths_unanswered, recent)
        delay_s = 0.0 if unanswered <= 1 else min(_LONGEST_DELAY_S, 0.05 * 2 ** (unanswered - 2))
        # Deaths between answers still cost something: never spin.
        return max(delay_s, 0.25) if recent >= DEATHS else delay_s

    def health(self, now_s: float, oldest_unsaved_s: float) -> Health:
        """The verdict at ``now_s``; ``oldest_unsaved_s``: age of the oldest waiting change."""
        recent = self._recent_deaths(now_s)
        # One that lives and owes nothing has recovered, though there was nothing to answer.
        owing = self._down or oldest_unsaved_s > 0
        hopeless = owing and min(self._deaths_unanswered, recent) >= DEATHS
        if self.trouble or hopeless or (self._down and recent >= DEATHS):
            return Health.DEGRADED
        if self._sent_s is not None and now_s - self._sign_s >= STALLED_S:
            return Health.STALLED
        batch_s = 0.0 if self._sent_s is None else now_s - self._sent_s
        if max(batch_s, oldest_unsaved_s) >= LAGGING_S:
            return Health.LAGGING
        return Health.OK
