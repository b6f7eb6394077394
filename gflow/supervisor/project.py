"""Which projects jobs may be counted for ([projects] of the configuration)."""

from __future__ import annotations

from gflow.config import Config
from gflow.errors import Refused


def check(config: Config, project: str | None, verb: str = "submit") -> None:
    """Raise Refused unless a job may have this project; None: it has none."""
    settings = config["projects"]
    known = settings["known_projects"]
    if project is None:
        if settings["require_project"]:
            raise Refused(
                Refused.INVALID, f"cannot {verb} job: it needs a project here; name it (--project)"
            )
    elif known and project not in known:
        raise Refused(
            Refused.INVALID,
            f"cannot {verb} job: there is no project {project!r} here, only {', '.join(known)}",
        )
