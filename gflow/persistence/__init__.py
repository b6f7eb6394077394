"""Remembering: what the supervisor changed becomes durable without the supervisor ever waiting.

- The supervisor's end: ``link`` gathers changed keys (``backlog``), cuts batches (``batch``) and
  judges the other end (``watchdog``); no I/O, no clock. What comes back is a ``message``.
- The process at the other end: ``persister`` is its loop, ``committer`` makes one transaction per
  batch and acknowledges after COMMIT, ``question`` answers queries in slices. It alone opens the
  store. ``codec`` is what travels between the two, ``setting`` what it is told at its start.
- The store: ``store``, ``schema``, ``apply``, ``load``, ``history``, ``summary`` are SQLite and
  nothing else. ``opening`` decides what may be opened, with ``storefile``, ``wal``, ``marker`` and
  ``floor``.
- Around it: ``lock``, ``location``, ``folder``, ``space`` and ``trouble`` know the folder and its
  disk; ``housekeeping``, ``backup``, ``check`` and ``restore`` are the long work.

One rule for all of it: an acknowledgement means committed. Whatever ended otherwise is sent again,
and sending twice is harmless, because records are whole and the newest one wins.
"""
