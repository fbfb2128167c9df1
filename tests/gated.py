"""A model that shows how many calls are under way at once."""

import threading

from elexirion_dagster.providers.fake import FakeProvider


class Gate(FakeProvider):
    """Answers only when `parties` calls are inside at once, the first `times` groups of them; counts how many are."""

    def __init__(self, parties, *, times=None):
        super().__init__()
        self.barrier = threading.Barrier(parties)
        self.gated = None if times is None else parties * times
        self.calls = self.inside = self.peak = 0
        self.lock = threading.Lock()

    def send(self, request, **options):
        with self.lock:
            self.calls += 1
            self.inside += 1
            self.peak = max(self.peak, self.inside)
            gated = self.gated is None or self.calls <= self.gated
        if gated:
            self.barrier.wait(timeout=20)
        reply = super().send(request, **options)
        with self.lock:
            self.inside -= 1
        return reply
