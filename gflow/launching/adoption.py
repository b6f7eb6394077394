"""What became of an attempt that nobody watched: a verdict over facts, without looking itself.

The table of DESIGN, section 4, "Adoption". An unknown end is never a success.
"""

from __future__ import annotations

from enum import StrEnum

from gflow.launching.runfile import Contents


class Verdict(StrEnum):
    """What to believe, and what the launcher has to do about it."""

    #: The shim lives and so does the command (or it is about to): watch the shim.
    RUNNING = "running"
    #: The shim lives, the command has ended: watch the shim.
    COMPLETING = "completing"
    #: Nothing is left, and the exit is known.
    ENDED = "ended"
    #: The exit is known and the shim is dead, but some of its tree lives: end that.
    SWEEP = "sweep"
    #: The shim is dead; the command, or some of its tree, lives: follow it. Its end is unknown.
    FOLLOW = "follow"
    #: Nothing is left, and how the command ended is unknown.
    LOST = "lost"
    #: The command did not come to exec, and the reason is known.
    FAILED = "failed"
    #: The command was never started: the attempt may be made again.
    NEVER_STARTED = "never_started"
    #: Made by another machine or in another folder: nothing here is to be signalled.
    FOREIGN = "foreign"


#: Verdicts after which somebody of ours keeps watching.
WATCHED = frozenset((Verdict.RUNNING, Verdict.COMPLETING, Verdict.SWEEP, Verdict.FOLLOW))


def judge(
    contents: Contents, *, locked: bool, native: bool, same_boot: bool, alive: bool
) -> Verdict:
    """The verdict on one run file.

    ``locked``: somebody holds its lock. ``native``: it was made on this machine, in this folder.
    ``same_boot``: since the last boot. ``alive``: processes of the attempt other than a shim were
    seen (meaningless, and not looked at, unless ``native`` and ``same_boot``).
    """
    alive = alive and native and same_boot
    if contents.get("exit"):
        if contents.nothing_left:
            return Verdict.ENDED
        if locked:
            return Verdict.COMPLETING
        return Verdict.SWEEP if alive else Verdict.ENDED
    if contents.get("failed"):
        return Verdict.FAILED
    if contents.get("lost"):
        return Verdict.LOST
    if locked:
        return Verdict.RUNNING
    if not native:
        return Verdict.FOREIGN
    if alive:
        return Verdict.FOLLOW
    if contents.damaged or contents.get("spawning") or contents.get("started"):
        return Verdict.LOST
    # After a power cut the rest of the file may be missing.
    return Verdict.NEVER_STARTED if same_boot else Verdict.LOST
