"""Jobs as processes: a shim per attempt, a launcher that forks them, a run file that outlives all.

``launcher`` is the process; ``shim`` is what it forks for each attempt and ``follower`` what takes
over when a shim was killed. ``runfile`` holds the facts of an attempt, ``adoption`` judges them
after a crash. The supervisor uses ``request`` alone: what to send, and which events the reports
are.

Everything that is imported here before a fork costs every shim memory and time, so the launcher's
modules use the small part of the standard library only (no dataclasses, no multiprocessing).
"""
