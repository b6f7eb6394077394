"""Measurements, as ratios against a floor or peer that runs beside them: ``python -m tools.bench``.

One module per bench; ``machine`` starts a private supervisor, ``floor`` is the least that the same
work can cost, ``peer`` runs what users would pick instead, ``table`` prints. Absolute figures
belong to one machine on one day; ratios within one run are what compares.
"""
