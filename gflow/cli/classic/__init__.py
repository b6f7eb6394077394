"""The older gflow's commands on our API: ``gbatch``, ``gqueue``, ``gjob``, ``gcancel`` and so on.

Same words, columns and exit codes, so that scripts go on; what was plainly broken works. ``main``
has the entry points and loads the chosen command alone; ``notation`` reads values as they were
written, ``table`` and ``sheet`` show jobs as they were shown.
"""
