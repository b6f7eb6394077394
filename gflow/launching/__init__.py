"""Jobs as processes: a shim per attempt, a launcher that forks them, a run file that outlives all.

``launcher`` is the process and its loop; ``custody`` watches over every attempt. ``shim`` is what
is forked for it: it starts the ``command``, waits, ends the ``tree`` and keeps the ``journal``;
``follower`` takes over when a shim was killed. ``runfile`` holds the facts of an attempt,
``survey`` looks at them after a crash and ``adoption`` judges. The supervisor uses ``request``
alone: what to send, and which events the reports are.

A shim is about one attempt at a time. After a short and plain one it may get another: it waits in
the launcher's ``pool`` for two seconds at most, and orders come on its ``line``. That triples the
rate of short jobs, and nothing else changes: the run file of every attempt gets its name
exclusively and is locked for that attempt alone; an order on its way holds the folder's lock, as a
newborn shim does; without its launcher an idle shim ends and starts nothing; and a shim that was
asked to end an attempt, ran a hook or has seen more than 50 ms of processor time ends with it.

``arrears`` and ``attic`` keep the disk out of the way of short jobs: an exit is told at once and
synced within 50 ms, unless the store has it by then; a run file that nobody needs any more is given
to another attempt, and what is too much is deleted when it is quiet.

Everything that is imported here before a fork costs every shim memory and time, so the launcher's
modules use the small part of the standard library only (no dataclasses, no multiprocessing).
"""
