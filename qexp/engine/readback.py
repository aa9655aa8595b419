"""What a server says it built, in our words."""

from dataclasses import replace
from typing import Any

from qexp.engine import dialect
from qexp.engine.base import described
from qexp.engine.wire import Missing, Rest, Unavailable
from qexp.errors import BenchmarkError, EngineError, in_one_line
from qexp.results import PAYLOAD_INDEXES, CollectionSpec, CollectionState, MemoryUse, method_of

TAKE_PART = ("Active", "Listener")  # the second is a node's for good, which stores points and answers no search
EMPTY_SEGMENT = 2**20  # of flags, a bit for each point that will have been deleted


class Readback:
    """One collection as `rest` shows it, of a name of `dialect.collection_name`, which no path needs quoted."""

    def __init__(self, rest: Rest, version: dialect.Version, name: str, spec: CollectionSpec) -> None:
        self._rest = rest
        self._version = version
        self._spec = spec
        self.name = name

    def path(self, below: str = "") -> str:
        """Return the path of the collection, or of something below it."""
        return f"/collections/{self.name}{below}"

    def info(self) -> dict[str, Any]:
        """Return counts, status and configuration; raise Missing if there is no such collection."""
        info: dict[str, Any] = self._rest.ask("GET", self.path())
        return info

    def find(self) -> dict[str, Any] | None:
        """Return `info`, None if there is no such collection."""
        try:
            return self.info()
        except Missing:
            return None

    def mark(self, info: dict[str, Any]) -> dict[str, Any]:
        """Return our mark, empty on servers without metadata; raise EngineError if the collection is not ours."""
        if self._version < dialect.METADATA:
            return {}
        mark = (info["config"].get("metadata") or {}).get(dialect.MARK)
        if not isinstance(mark, dict) or mark.get("spec") != self._spec.name:
            raise EngineError(
                f"{self.name}: a collection of that name exists at {self._rest.url} and is not qexp's; it is left "
                f"alone: set engine.prefix=…"
            )
        return mark

    def ready(self, info: dict[str, Any]) -> bool:
        """Whether every point is stored, indexed and quantized, and no update or optimization is under way."""
        if (info.get("indexed_vectors_count") or 0) < self._spec.points or not self.idle(info):
            return False
        return self._spec.quantization is None or self._quantized()

    def idle(self, info: dict[str, Any]) -> bool:
        """Whether all replicas take part, and no update or optimization is under way."""
        if info["status"] != "green" or info["optimizer_status"] != "ok":
            return False
        if (info.get("update_queue") or {}).get("length"):
            return False
        if any(replica["state"] not in TAKE_PART for replica in self._replicas()):
            return False
        if self._version >= dialect.OPTIMIZATIONS:
            work = self._rest.ask("GET", self.path("/optimizations"))
            return not (work["running"] or work["summary"]["queued_optimizations"])
        return True

    def need_living(self) -> None:
        """Raise Unavailable if a replica is dead and none is being brought back: a node does so one after another."""
        cluster = self._rest.ask("GET", self.path("/cluster"))
        for replica in [] if cluster.get("shard_transfers") else _replicas(cluster):
            if replica["state"] == "Dead":
                where = f"peer {replica['peer_id']}" if "peer_id" in replica else "the node that answers"
                raise Unavailable(
                    f"{self.name}: a replica of shard {replica['shard_id']} is dead, on {where}; start that node "
                    "again, or take it out of the cluster"
                )

    def state(self) -> CollectionState:
        """Return configuration, exact count, segments, and every component's bytes; BenchmarkError without codes."""
        info = self.info()
        count = self._rest.ask("POST", self.path("/points/count"), {"exact": True})["count"]
        report = self._memory_report()
        files = _without_empty(report_files(report, self._spec.replicas), self._spec) if report else {}
        if not report and info["config"].get("quantization_config") and not self._quantized():
            raise BenchmarkError(
                f"T06 {self.name}: the server reports segments without quantized codes; remove the collection and "
                f"build it again, with a server that knows the method"
            )
        state = read_state(info, count, len(self._replicas()), self._segments(), files, self._version)
        return replace(state, idle=self.idle(info))

    def memory(self) -> MemoryUse | None:
        """Return the bytes in RAM of one copy; None before Qdrant 1.18, which only has estimates."""
        report = self._memory_report()
        return report_memory(report, self._spec.replicas) if report else None

    def _quantized(self) -> bool:
        """Whether every segment that holds points has quantized codes."""
        if report := self._memory_report():
            return report_files(report, 1).get("codes", 0) > 0
        segments = self._local_segments()
        if not segments:
            raise BenchmarkError(
                f"T06 {self.name}: cannot see whether codes were built: {self._rest.url} holds none of the shards or "
                f"shows no telemetry; use Qdrant 1.18 or newer, or a node that holds a shard"
            )
        return all(segment["config"]["vector_data"][""].get("quantization_config") for segment in segments)

    def _replicas(self) -> list[dict[str, Any]]:
        return _replicas(self._rest.ask("GET", self.path("/cluster")))

    def _segments(self) -> int | None:
        """Return the segments that hold points per replica of a shard, rounded up; None if the server does not tell."""
        copies = self._spec.shards * self._spec.replicas
        if self._version >= dialect.OPTIMIZATIONS:
            idle = self._rest.ask("GET", self.path("/optimizations"), params={"with": "idle_segments"})["idle_segments"]
            filled = sum(1 for segment in idle if segment["points_count"])
            return -(-filled // copies)
        return len(self._local_segments()) if copies == 1 else None

    def _local_segments(self) -> list[dict[str, Any]]:
        """Return telemetry of the segments with points in the shards of the node that answers."""
        telemetry = self._rest.ask("GET", "/telemetry", params={"details_level": "10"})
        ours = [c for c in telemetry["collections"].get("collections") or [] if c.get("id") == self.name]
        shards = [shard["local"] for c in ours for shard in c.get("shards") or [] if shard.get("local")]
        return [s for shard in shards for s in shard.get("segments") or [] if s["info"]["num_points"]]

    def _memory_report(self) -> dict[str, Any] | None:
        if self._version < dialect.MEMORY_REPORT:
            return None
        report: dict[str, Any] = self._rest.ask("GET", self.path("/memory"))
        return report


def _replicas(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every replica of every shard, on whatever node."""
    return [*cluster["local_shards"], *cluster["remote_shards"]]


def failure(info: dict[str, Any]) -> str | None:
    """Return what the server says has failed there and what to do, None if nothing has."""
    if info["optimizer_status"] != "ok":  # remembered until the configuration changes or the server restarts
        reason = in_one_line(info["optimizer_status"]["error"])
        return f"the server's optimizer failed: {reason}; mend that there, then restart the server if it says so still"
    if info["status"] == "red":
        return "the server could not apply an update (status red): its log says why; mend that there, then try again"
    return None


def read_state(
    info: dict[str, Any],
    points: int,
    copies: int,
    segments: int | None,
    files: dict[str, int],
    version: dialect.Version,
) -> CollectionState:
    """Return the state that `GET /collections/{name}` describes.

    `points` is the exact count, `copies` the number of all replicas of all shards, `segments` the number in each
    (None: the server does not tell), `files` the bytes of one copy of the collection by component (empty: as before).
    """
    config = info["config"]
    params, hnsw = config["params"], config["hnsw_config"]
    vectors, shards = params["vectors"], params.get("shard_number") or 1
    if "size" not in vectors:
        raise EngineError("the collection has named vectors; qexp makes and reads collections with one unnamed vector")
    method, inner = method_of(config.get("quantization_config"))
    inner = {key: value for key, value in inner.items() if value is not None}
    usual = {"payload_m": (None, hnsw["m"]), "inline_storage": (None, False)}
    if version >= dialect.MEMORY_WORDS:
        vector_memory, hnsw_memory = vectors.get("memory"), hnsw.get("memory")
        code_memory = inner.pop("memory", None)
    else:
        vector_memory = "cold" if vectors.get("on_disk") else "cached"
        hnsw_memory = "cold" if hnsw.get("on_disk") else "cached"
        beside = "pinned" if inner.pop("always_ram", None) else dialect.codes_beside(vector_memory)
        code_memory = beside if method else None
    return CollectionState(
        points=points,
        indexed_vectors=info.get("indexed_vectors_count") or 0,
        segments=segments,
        **described(vectors, hnsw),
        quantization={method: inner} if method else None,
        placements={"vectors": vector_memory, "hnsw": hnsw_memory, "quantized": code_memory},
        files=files,
        shards=shards,
        replicas=copies // shards,
        write_consistency=params.get("write_consistency_factor") or 1,
        unasked={name: hnsw[name] for name, values in usual.items() if hnsw.get(name) not in values},
    )


def report_files(report: dict[str, Any], replicas: int) -> dict[str, int]:
    """Return the bytes on disk of one copy by component; the report sums every replica on every node."""
    return {name: part["disk_bytes"] // replicas for name, part in _parts(report).items()}


def _without_empty(files: dict[str, int], spec: CollectionSpec) -> dict[str, int]:
    """Return the files with what the empty segment of each shard has for vectors as `other`, as Edge counts it."""
    ahead = min(spec.shards * EMPTY_SEGMENT, max(0, files["vectors"] - spec.points * spec.vector_bytes))
    return {**files, "vectors": files["vectors"] - ahead, "other": ahead}


def report_memory(report: dict[str, Any], replicas: int) -> MemoryUse:
    """Return the bytes in RAM of one copy: pages of mapped files by component, and the heap, whole and by component."""
    parts = _parts(report).items()
    mapped = {name: part["cached_bytes"] // replicas for name, part in parts}
    heap = {name: part["ram_bytes"] // replicas for name, part in parts}
    return MemoryUse(mapped, report["total"]["ram_bytes"] // replicas, heap_parts=heap)


def _parts(report: dict[str, Any]) -> dict[str, dict[str, int]]:
    vector: dict[str, Any] = next(iter(report["vectors"]), {})
    found = {
        "vectors": vector.get("storage"),
        "codes": vector.get("quantized"),
        "graph": vector.get("index"),
        "id tracker": report["other"]["id_tracker"],
        "payload": report["payload"],
        PAYLOAD_INDEXES: _together([field["usage"] for field in report.get("payload_index", [])]),
    }
    return {name: part for name, part in found.items() if part}


def _together(parts: list[dict[str, int]]) -> dict[str, int] | None:
    return {key: sum(part[key] for part in parts) for key in parts[0]} if parts else None
