"""What the launcher found in the run files, against what the store says: who is right.

The table of DESIGN, section 4, "Adoption". The launcher's verdict says what became of an attempt;
here it meets the job's record: an attempt that the store has settled already needs no event, one
that the store does not know at all brings its record along in its run file.
"""

from __future__ import annotations

from typing import NamedTuple

from gflow.launching import request
from gflow.launching.protocol import Message
from gflow.model.action import Kill
from gflow.model.event import Event
from gflow.model.job import Job
from gflow.model.state import ACTIVE

#: Grace period for the remains of an attempt that the store has settled.
_REMAINS_GRACE_S = 10.0


class Finding(NamedTuple):
    """What follows from one report about an attempt."""

    events: list[Event]
    #: Remains to be ended without the core: the attempt is not its current one any more.
    kill: Kill | None = None


def judge(report: Message, job: Job) -> Finding:
    """What a ``found`` report means for the job that the store (or the run file) knows."""
    attempt = report["attempt"]
    over = request.is_over(report)
    if attempt < job.attempt:
        remains = Kill(job.id, attempt, _REMAINS_GRACE_S)
        return Finding([], None if over else remains)
    if attempt == job.attempt and job.state not in ACTIVE and over:
        return Finding([])
    return Finding(request.events(report))
