"""The scheduling core: pure decisions, no clock, no random, no os, no asyncio, no logging.

Events go in with the present moment, actions come out::

    actions = scheduler.handle(event, Instant(boot_s, wall_s))

:mod:`gflow.scheduling.state` holds everything the core knows; what may happen to a job is one table
in :mod:`gflow.scheduling.machine`. Equal histories of events lead to equal decisions. An event
costs what it changes, not what is queued.
"""
