"""gflow: a job scheduler for one shared Linux machine.

It makes three promises. It never stalls: no disk, driver or client delays a decision. It never
forgets: what was acknowledged as durable survives ``kill -9``, a full disk and a power cut. It
always explains: every reason why a job waits, and when it will start.

One process, one duty; ``ps`` shows them::

    gflow: supervisor      decides: one asyncio thread, the live state, the API   gflow.supervisor
    ├─ gflow: persister    remembers: diffs over a pipe, one transaction, an ack  gflow.persistence
    ├─ gflow: launcher     starts: a shim per attempt, signals, reports           gflow.launching
    │   └─ gflow: job 42   the shim: outlives everything above, writes the exit
    │        └─ the user's command, in its own session
    ├─ gflow: monitor      watches: samples of the jobs' process trees            gflow.monitoring
    ├─ gflow: gpu          asks the driver about cards; it may hang without harm  gflow.monitoring
    └─ gflow: logger       writes the supervisor's own log from a pipe            gflow.supervisor

What decides is apart from what does. ``gflow.scheduling`` is pure: events in, actions out, no
clock, no I/O. The supervisor hands it what happened and carries out what it wants: a ``Start``
becomes a message to the launcher, every changed key goes to the persister's link. What waits for
the disk is the answer to a request, never a start.

A submission's way: ``cli`` → HTTP on a Unix socket → ``api.server`` → ``api.specification`` (valid,
or one sentence) → ``supervisor.operations`` → ``scheduling`` (ids, queue, perhaps a start at once)
→ ``persistence.link`` → persister → COMMIT → ack → the answer, with ``durable: true``.

Layers, each importing only what stands above it::

    errors  inheritance  config
    model        values: job, resources, event, action, state, record
    process      who is that process, how ours begin, frames on their pipes
    scheduling   persistence   launching   monitoring   api      never import each other
    compat       the older gflow's API and state, on top of api
    supervisor   cli

``tools/tidy.py`` checks that. What is persisted are facts; queues, allocations and indexes are
rebuilt at load. A test of any part runs without the others: the link needs no pipe, the core no
clock, the launcher no supervisor.
"""

from __future__ import annotations

__version__ = "0.1.0"

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gflow.api.client import Client as Client

__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> object:
    """Load the Python API when somebody asks for it; the processes themselves never do."""
    if name == "Client":
        from gflow.api.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
