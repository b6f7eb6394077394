"""Who may do what."""

from __future__ import annotations

import os

from gflow.api.operations import Peer
from gflow.errors import Refused
from gflow.supervisor.reactor import Reactor


def is_system(reactor: Reactor) -> bool:
    """Whether several users are served."""
    return bool(reactor.config["access"]["mode"] == "system")


def is_admin(reactor: Reactor, peer: Peer) -> bool:
    """Whether somebody may change other users' jobs: root, we ourselves, those configured."""
    admins = reactor.config["access"]["admins"]
    return peer.uid in (0, os.getuid()) or (peer.user is not None and peer.user in admins)


def require_admin(reactor: Reactor, peer: Peer, what: str) -> None:
    """Raise Refused unless the peer is an admin."""
    if not is_admin(reactor, peer):
        raise Refused(Refused.FORBIDDEN, f"cannot {what}: only an admin may")
