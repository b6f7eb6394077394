"""What the configuration makes of the machine."""

from __future__ import annotations

from gflow import config
from gflow.supervisor.machine import scheduler_settings


def test_close_cards_of_the_configuration_win() -> None:
    """Without any there, the driver's groups hold; with some, also none, those of the settings."""
    driver = ((0, 1), (2, 3))
    assert scheduler_settings(config.load({}, texts={}), driver).gpu_topology == driver
    for told in ([[0, 2], [1, 3]], []):
        settings = config.load({}, {"gpus": {"topology": told}}, texts={})
        assert scheduler_settings(settings, driver).gpu_topology == tuple(map(tuple, told))
