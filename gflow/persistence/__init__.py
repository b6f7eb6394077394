"""Remembering: what the supervisor changed becomes durable without the supervisor ever waiting.

``link`` is the supervisor's end, without I/O and without a clock: it gathers changed keys and has
one batch in flight. ``persister`` is the process at the other end: one transaction per batch,
COMMIT, then the acknowledgement; it alone opens the store. ``codec`` is what travels between
them, ``message`` what the supervisor gets to see. ``store`` with ``schema``, ``history``,
``summary``, ``load`` is SQLite and nothing else; ``marker``, ``lock``, ``location`` and ``space``
guard the folder it lies in; ``housekeeping``, ``backup``, ``restore`` and ``check`` are the long
work, done in slices.

The rule for all of it: an acknowledgement means committed. Whatever happened otherwise is sent
again, and sending twice is harmless, because records are whole and the newest one wins.
"""
