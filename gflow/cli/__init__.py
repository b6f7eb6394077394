"""``gflowctl``: what users type. One module per family of commands, loaded when it is chosen.

``main`` finds the command and turns every failure into one sentence and an exit code; ``session``
is what a command gets: the client, and a way to print; ``rendering`` makes text safe and columns
straight. Commands know the API's records and nothing of what is behind the socket.
"""
