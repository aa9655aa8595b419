"""The schema of engines."""

import re
from dataclasses import dataclass, field
from typing import ClassVar

from qexp.config.checks import MISSING, at_least, plain, require, server_url
from qexp.errors import ConfigError

_CAP = re.compile(r"(\d+(?:\.\d+)?) ?(%|[KMG]i?B|B)")
_CAP_UNITS = {"B": 1, **{f"{p}{i}B": b**n for n, p in enumerate("KMG", 1) for i, b in (("", 1000), ("i", 1024))}}


def parse_cap(text: str) -> tuple[float, bool]:
    """Return a memory cap as (bytes, False), or as (share, True) for a percentage of the baseline's RAM."""
    found = _CAP.fullmatch(text)
    if not found:
        raise ConfigError(f"engine.ram_caps: {text!r} is no size; write 256MiB, 1.5GiB, 300MB, or 50%")
    value = float(found[1])
    require(value > 0, f"engine.ram_caps: {text!r}: a cap of nothing holds nothing")
    return (value / 100, True) if found[2] == "%" else (value * _CAP_UNITS[found[2]], False)


@dataclass(frozen=True)
class EngineConfig:
    """Where collections live, how often each is built, and on which CPUs it is measured (none given: any).

    `ram_caps` are memory caps to measure under as well: `256MiB`, or `50%` of the RAM that the baseline wants.
    """

    name: str = MISSING
    ram_caps: list[str] = field(default_factory=list)
    builds: int = 1
    cpus: list[int] = field(default_factory=list)

    kind: ClassVar[str] = "edge"

    def __post_init__(self) -> None:
        require(
            self.name in (self.kind, MISSING),
            f"engine.name={self.name}: names the kind of the engine; add engine=… to choose another",
        )
        for key in ("ram_caps", "cpus"):
            plain(f"engine.{key}", getattr(self, key))
        at_least("engine.builds", self.builds, 1)
        for cpu in self.cpus:
            at_least("engine.cpus", cpu, 0)
        for cap in self.ram_caps:
            parse_cap(cap)


@dataclass(frozen=True)
class ServerConfig(EngineConfig):
    """A Qdrant server, cluster or Cloud, since 1.15; its API key is in the environment (QDRANT_API_KEY) alone.

    Seconds: `timeout` for a request, `patience` for building on while the server is away or busy, `ready_timeout` until
    everything is indexed. Collections are named `prefix` and their spec; unless `keep` they are dropped afterwards.
    `source_collection` is one of the server's collections to be advised: the dataset is read from it, nothing is
    written to it.
    """

    url: str = MISSING
    prefer_grpc: bool = False
    grpc_port: int = 6334
    timeout: int = 60
    patience: int = 120
    ready_timeout: int = 3600
    upload_parallel: int = 4
    prefix: str = "qexp"
    keep: bool = True
    source_collection: str | None = None
    shards: int = 1
    replicas: int = 1
    write_consistency: int = 1
    kind: ClassVar[str] = "server"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not self.ram_caps, "engine.ram_caps: a server's memory cannot be capped from here; use engine=edge")
        if self.url == ":memory:" or self.url.startswith((".", "/", "~")):
            raise ConfigError(
                f"T01 engine.url={self.url}: is qdrant-client's local mode, which ignores quantization; give the "
                f"URL of a server, or use engine=edge"
            )
        server_url("engine.url", self.url)
        for key in (
            "timeout",
            "ready_timeout",
            "upload_parallel",
            "grpc_port",
            "shards",
            "replicas",
            "write_consistency",
        ):
            at_least(f"engine.{key}", getattr(self, key), 1)
        at_least("engine.patience", self.patience, 0)
        require(
            re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", self.prefix) is not None,
            f"engine.prefix={self.prefix}: must be 1 to 64 letters, digits, '-', '_' or '.'",
        )
        require(self.source_collection != "", "engine.source_collection: must name a collection, or be null")
        require(
            self.write_consistency <= self.replicas,
            f"engine.write_consistency={self.write_consistency}: must not exceed engine.replicas={self.replicas}",
        )
