"""gflow: a job scheduler for one shared Linux machine."""

from __future__ import annotations

__version__ = "0.1.0"
