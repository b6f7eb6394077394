"""What the watchers saw of the jobs, and what follows from it."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from gflow.errors import Refused
from gflow.model.action import Warn
from gflow.model.event import Cancel, Sampled
from gflow.model.state import ACTIVE
from gflow.supervisor import clock
from gflow.supervisor.idle import Finding, IdlePolicy, Step

if TYPE_CHECKING:
    from gflow.supervisor.reactor import Reactor

log = logging.getLogger("gflow")


class Observer:
    """Takes samples to the core; ends what is above its memory limit or leaves its gpus idle."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.idle = IdlePolicy(reactor.config["gpus"])

    def on_samples(self, samples: tuple[tuple[int, int, dict[str, Any]], ...]) -> None:
        """Usage of attempts: (job id, attempt, usage)."""
        self._reactor.step(Sampled(samples))

    def on_excess(self, job_id: int, attempt: int, used_bytes: int, limit_bytes: int) -> None:
        """A tree is above its memory limit: it is ended, and its state will say so."""
        job = self._reactor.scheduler.job(job_id)
        if job is None or job.attempt != attempt or job.kill_cause or job.state not in ACTIVE:
            return
        reason = f"memory limit exceeded: {used_bytes} bytes used, {limit_bytes} bytes allowed"
        log.warning("job %d: %s", job_id, reason)
        self._reactor.step(Cancel(job_id, os.getuid(), cause="memory", reason=reason))

    def on_gpu_samples(self, samples: tuple[tuple[int, int, dict[str, Any]], ...]) -> None:
        """Use of gpus by attempts, in the same shape."""
        self.on_samples(samples)
        for finding in self.idle.judge(samples):
            event = {
                "type": "gpu_idle",
                "job_id": finding.job_id,
                "step": finding.step.name.lower(),
                "idle_s": finding.idle_s,
                "ends_in_s": finding.left_s,
                "at": clock.now().wall_s,
            }
            self._reactor.feed.publish(event)
            sentence = f"its gpus were not used for {finding.idle_s:.0f} s"
            log.warning("job %d: %s (%s)", finding.job_id, sentence, finding.step.name.lower())
            if finding.step is Step.WARN:
                self._warn(finding)
            elif finding.step is Step.END:
                reason = f"ended: {sentence}"
                try:
                    self._reactor.step(Cancel(finding.job_id, os.getuid(), "idle", reason))
                except Refused:
                    pass  # it ended by itself just now

    def _warn(self, finding: Finding) -> None:
        """Let the job know: by the signal that it asked for, else by the configured one, if any."""
        job = self._reactor.scheduler.job(finding.job_id)
        if job is None or job.state not in ACTIVE:
            return
        number, tree = 0, True
        if job.spec.warning is not None:
            number, tree = job.spec.warning.signal, job.spec.warning.tree
        elif name := self._reactor.config["gpus"]["idle_signal"]:
            number = signal.Signals[f"SIG{name}"]
        left_s = finding.left_s or 0.0
        self._reactor.perform([Warn(job.id, job.attempt, number, tree, "idle", left_s)])
