"""The way in: HTTP/1.1 and JSON on a Unix socket, its client, and what stands behind it.

``operations`` is the seam: the server turns requests into its calls, the supervisor implements it.
``specification`` turns a JSON spec into values of the model, or into one clear sentence;
``grammar``, ``quantity`` and ``moment`` are the little languages of the command line; ``feed``
holds the events that listeners may still ask for; ``wire`` and ``client`` are the other end of the
socket and need nothing but the standard library, so that commands start fast.
"""
