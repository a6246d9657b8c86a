"""What Prometheus reads: requests, decisions, the queue, seconds a stage, memory."""

from __future__ import annotations

import resource
import sys

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        """A registry of its own, so that several applications (tests) do not meet."""
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "toeline_request_seconds",
            "Requests",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.decisions = Counter("toeline_decisions", "Decisions taken", ["action"], registry=self.registry)
        self.stages = Histogram(
            "toeline_stage_seconds", "Work of the model", ["stage"], buckets=BUCKETS, registry=self.registry
        )
        self._waiting = Gauge("toeline_jobs_waiting", "Jobs that wait", registry=self.registry)
        self._running = Gauge("toeline_jobs_running", "Jobs that run", registry=self.registry)
        self._memory = Gauge("toeline_memory_peak_bytes", "Most memory of the process so far", registry=self.registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request is answered; `route` is its pattern, never an address that somebody typed."""
        known = method if method in ("GET", "POST", "DELETE", "HEAD") else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def text(self, *, waiting: int, running: int) -> bytes:
        """All of them; the jobs are counted when they are asked for."""
        self._waiting.set(waiting)
        self._running.set(running)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._memory.set(peak if sys.platform == "darwin" else peak * 1024)
        return bytes(generate_latest(self.registry))
