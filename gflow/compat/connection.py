"""One loopback TCP connection: who is there, asked of the kernel once, at accept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from gflow.api.operations import Peer
from gflow.api.server import connection
from gflow.api.server.connection import Limits
from gflow.compat.peer import SocketTable
from gflow.errors import Refused

#: Until somebody needs it: the kernel tells the uid of a socket and nothing more.
UNKNOWN_GROUP = -1


class Gate(connection.Gate):
    """Lets in whose uid the kernel tells; everybody else is refused."""

    def __init__(
        self,
        limits: Limits,
        allowed_uids: frozenset[int] | None,
        user_name: Callable[[int], str | None],
    ) -> None:
        super().__init__(limits, allowed_uids, user_name)
        self._sockets = SocketTable()

    def identify(self, transport: asyncio.BaseTransport) -> Peer:
        """The peer, or Refused."""
        uid = self._sockets.uid_of_peer(transport.get_extra_info("socket"))
        if uid is None:
            raise Refused(
                Refused.FORBIDDEN,
                "cannot let the peer in: nobody holds the other end of this connection any more",
            )
        return self.admit(uid, UNKNOWN_GROUP, 0)

    def close(self) -> None:
        """Give the netlink socket back."""
        self._sockets.close()


class Connection(connection.Connection):
    """Says what is wrong in the reference's form."""

    __slots__ = ()

    def error_body(self, kind: str, message: str) -> str:
        return json.dumps({"error": message})
