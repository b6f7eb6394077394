"""Jobs as processes: a shim per attempt, a launcher that forks them, a run file that outlives all.

``launcher`` is the process and its loop; ``custody`` watches over every attempt. ``shim`` is what
is forked for each: it starts the ``command``, waits, ends the ``tree`` and keeps the ``journal``;
``follower`` takes over when a shim was killed. ``runfile`` holds the facts of an attempt,
``survey`` looks at them after a crash and ``adoption`` judges. The supervisor uses ``request``
alone: what to send, and which events the reports are.

Everything that is imported here before a fork costs every shim memory and time, so the launcher's
modules use the small part of the standard library only (no dataclasses, no multiprocessing).
"""
