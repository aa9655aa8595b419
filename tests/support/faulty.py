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


class HardWorking:
    """A worker whose engine has more to do at every visit: it looks at `hnsw_ef` candidates."""

    def __init__(self, worker: Worker, hnsw_ef: int) -> None:
        self._worker = worker
        self._hnsw_ef = hnsw_ef

    def block(self, point: OperatingPoint, warmup: int, with_ids: bool) -> Block:
        return self._worker.block(replace(point, hnsw_ef=self._hnsw_ef), warmup, with_ids)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)
