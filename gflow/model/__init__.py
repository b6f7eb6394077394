"""Values that the parts exchange: jobs, resources, events, actions, states.

This package imports nothing of ours and does nothing: no clock, no I/O. What is here is either
persisted (facts of a job), sent (events to the core, actions from it) or compared (states).
"""
