"""The HTTP server on the Unix socket: requests in, calls of ``api.operations`` out.

``listener`` is the server, ``front`` what it shares with other servers, ``connection`` knows the
peer and the limits of one connection, ``body`` reads JSON in slices, ``query`` turns parameters
into filters, ``route`` maps paths to operations, ``stream`` follows events and logs. No turn of the
loop is long: lists are parsed, and pages encoded, in slices.
"""

from gflow.api.server.connection import Limits
from gflow.api.server.listener import Server

__all__ = ["Limits", "Server"]
