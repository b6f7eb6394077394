"""The reference's HTTP API on loopback TCP, for its unmodified clients.

Everything asked here becomes calls of ``gflow.api.operations``: nothing goes around them. ``peer``
tells who is at the other end of a TCP connection, ``connection`` lets it in or not, ``listener`` is
the server, ``job_route``, ``machine_route`` and ``policy_route`` map the reference's paths;
``submission`` turns its jobs into our specs, ``shape`` our records into its jobs. What it has no
word for travels in new keys, never in new enum values: one unknown word makes its clients reject a
whole answer.

``takeover`` reads what the reference kept. Its configuration is read by ``gflow.inheritance``, and
the words that its commands and its API share are in ``gflow.api.dialect``.
"""
