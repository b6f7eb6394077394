"""Who is that process, and how does one of ours begin and talk: imports nothing of ours.

``identity`` tells processes apart although pids are reused; ``table`` lists them; ``child`` holds
the first statements of every process that the supervisor makes; ``channel`` frames messages on
their pipes as ``multiprocessing`` writes them.
"""
