"""Telling systemd how we are (sd_notify(3)), without a library: one datagram."""

from __future__ import annotations

import os
import socket


def notify(text: str) -> None:
    """Send one state, ``READY=1`` say, when somebody asked for it; failures do not matter."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.setblocking(False)
            sender.sendto(text.encode(), address)
        except OSError:
            pass
