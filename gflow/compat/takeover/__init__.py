"""Taking over what the reference kept: its state file as values, and those as requests to us.

Pure: ``state`` reads the bytes of a file in any of its versions, ``arrival`` makes of one job what
``POST /v1/import/jobs`` takes, ``policy`` does so for limits, reservations and use. Finding files
and processes is the command's (``gflow.cli.takeover``).
"""
