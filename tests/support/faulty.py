"""Real engines with one fault each, to see that a run tells."""

from dataclasses import replace
from typing import Any

from qexp.engine.edge import EdgeEngine
from qexp.engine.worker import Worker
from qexp.results import Block, OperatingPoint


class Backwards(EdgeEngine):
    """Finds what is farthest, as if it had the distance the wrong way round."""

    def query(self, vector: list[float]) -> Any:
        return super().query([-number for number in vector])


class Unindexed(EdgeEngine):
    """Has no optimizer: what is uploaded stays as it came."""

    def wait_until_indexed(self) -> None:
        pass


class Slow:
    """A worker whose searches take many times as long: more than any other work on the machine would make them."""

    TIMES = 100

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def block(self, point: OperatingPoint, warmup: int, with_ids: bool) -> Block:
        block = self._worker.block(point, warmup, with_ids)
        return replace(block, latencies=self.TIMES * block.latencies)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)
