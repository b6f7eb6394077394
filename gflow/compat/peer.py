"""Who is at the other end of a loopback TCP connection: the kernel knows (sock_diag(7)).

The reference's clients send no credentials, so the peer's own socket is looked up by its 4-tuple.
Only an established socket that a process still holds counts: one that was closed after sending has
inode 0 and reads as uid 0, whoever opened it.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any

#: include/uapi/linux/netlink.h, sock_diag.h, inet_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_TCP_ESTABLISHED = 1
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = 0xFFFFFFFF

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI")
_ENDS = struct.Struct("!HH16s16s")
_ENDS_REST = struct.Struct("=III")
_ANSWER_HEAD = struct.Struct("=BBBB")
#: expires, rqueue, wqueue, uid, inode
_ANSWER_TAIL = struct.Struct("=IIIII")
_ID_BYTES = _ENDS.size + _ENDS_REST.size
_ANSWER_BYTES = _HEADER.size + _ANSWER_HEAD.size + _ID_BYTES + _ANSWER_TAIL.size
_MAX_ANSWER = 8192

#: (address, port, …) as getsockname and getpeername give it.
Address = tuple[Any, ...]


@dataclass(slots=True, frozen=True)
class Holder:
    """What the kernel says about one TCP socket."""

    uid: int
    #: 0 when no process holds the socket any more.
    inode: int
    established: bool


class SocketTable:
    """Asks the kernel about TCP sockets of this network namespace. Never waits."""

    def __init__(self) -> None:
        self._netlink = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            _NETLINK_SOCK_DIAG,
        )
        self._sequence = 0

    def close(self) -> None:
        """Give the netlink socket back."""
        self._netlink.close()

    def uid_of_peer(self, connection: socket.socket) -> int | None:
        """Uid of whoever holds the other end of an accepted connection; None: nobody can tell."""
        try:
            ours, theirs = connection.getsockname(), connection.getpeername()
        except OSError:
            return None
        holder = self.look_up(connection.family, theirs, ours)
        if holder is None or not holder.established or not holder.inode:
            return None
        return holder.uid

    def look_up(self, family: int, local: Address, remote: Address) -> Holder | None:
        """The socket with exactly these ends; None when there is none."""
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        ends = _ENDS.pack(local[1], remote[1], _packed(family, local), _packed(family, remote))
        rest = _ENDS_REST.pack(0, _NO_COOKIE, _NO_COOKIE)
        asked = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + ends + rest
        head = _HEADER.pack(
            _HEADER.size + len(asked), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, self._sequence, 0
        )
        try:
            self._netlink.sendto(head + asked, (0, 0))
            # The kernel has answered when sendto returns: it works in the sender's context.
            while True:
                answer = self._netlink.recv(_MAX_ANSWER)
                _, kind, _, sequence, _ = _HEADER.unpack_from(answer)
                if sequence == self._sequence:
                    return _holder(answer, ends) if kind == _SOCK_DIAG_BY_FAMILY else None
        except OSError:
            return None


def _holder(answer: bytes, ends: bytes) -> Holder | None:
    """The socket of an answer, if it is the one asked for and not the listener behind it."""
    if len(answer) < _ANSWER_BYTES:
        return None
    at = _HEADER.size
    _, state, _, _ = _ANSWER_HEAD.unpack_from(answer, at)
    at += _ANSWER_HEAD.size
    if answer[at : at + len(ends)] != ends:
        return None
    _, _, _, uid, inode = _ANSWER_TAIL.unpack_from(answer, at + _ID_BYTES)
    return Holder(uid, inode, state == _TCP_ESTABLISHED)


def _packed(family: int, address: Address) -> bytes:
    return socket.inet_pton(family, str(address[0]).partition("%")[0]).ljust(16, b"\0")
