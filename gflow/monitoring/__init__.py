"""Watching jobs: what their process trees use, and what the machine has.

``monitor`` is the process: one pass over the process table serves all jobs, psutil adds what the
table does not say. It decides nothing; its samples are events like any other. psutil is imported
here alone.
"""
