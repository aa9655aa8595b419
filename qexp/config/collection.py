"""The schema of what Qdrant builds: quantization, storage, index."""

from dataclasses import dataclass, field
from typing import Any

from qexp.config.checks import MISSING, above_zero, at_least, one_of, require
from qexp.config.dataset import MOST_BYTES
from qexp.errors import ConfigError, near_miss
from qexp.paths import packaged

DATATYPES = ("float32", "float16", "uint8", "turbo16", "turbo8", "turbo4")
LEAST_SCAN = 10  # KiB of full_scan_threshold; a server refuses less


@dataclass(frozen=True)
class TheoryConfig:
    """What was published about a method, as factors, to be compared with what is measured."""

    compression: float | None = None
    speedup: float | None = None

    def __post_init__(self) -> None:
        for key in ("compression", "speedup"):
            above_zero(f"quantization.theory.{key}", getattr(self, key), "no claim")


@dataclass(frozen=True)
class QuantizationConfig:
    """Qdrant's own `quantization_config`, verbatim; an empty one is no quantization."""

    name: str = MISSING
    config: dict[str, Any] = field(default_factory=dict)
    theory: TheoryConfig = field(default_factory=TheoryConfig)

    def __post_init__(self) -> None:
        require(
            "/" not in self.name and self.name.isprintable() and 0 < len(self.name.encode()) <= MOST_BYTES,
            f"quantization.name={self.name!r}: names files, so it must be printable, without / and of 1 to "
            f"{MOST_BYTES} bytes",
        )
        require(
            self.name != "none" or not self.config,
            "quantization.config: is given, so that it is not quantization=none any more; add quantization.name=…",
        )
        require(
            bool(self.config) or self.name in ("none", MISSING),
            f"quantization.name={self.name}: there is no quantization.config, which is quantization=none; add "
            "quantization.config=…, or leave the name out",
        )
        if self.config and not _as_packaged(self.name, self.config):
            _check_quantization(self.config)


def _as_packaged(name: str, config: dict[str, Any]) -> bool:
    """Whether this is a choice that comes with qexp, which tests have checked; Qdrant's schema is slow to import."""
    from omegaconf import OmegaConf  # here, because every worker imports this module

    choice = packaged("conf") / "quantization" / f"{name}.yaml"
    return choice.exists() and OmegaConf.select(OmegaConf.load(choice), "config") == config


def _check_quantization(config: dict[str, Any]) -> None:
    """Hold a `quantization_config` against Qdrant's own schema, unknown keys forbidden."""
    from pydantic import ValidationError
    from qdrant_client import models

    methods: dict[str, Any] = {
        "scalar": models.ScalarQuantization,
        "product": models.ProductQuantization,
        "binary": models.BinaryQuantization,
        "turbo": models.TurboQuantization,
    }
    where = "quantization.config"
    method, inner = next(iter(config.items()))
    for key in {"rescore", "oversampling"} & {*config, *(inner if isinstance(inner, dict) else ())}:
        raise ConfigError(
            f"T04 {where}: '{key}' is not a property of a collection, Qdrant would drop it silently; set search.{key}"
        )
    for name in config:
        require(name in methods, f"{where}.{name}: no such method{near_miss(name, methods)}")
    require(
        len(config) == 1,  # what is given in words is merged with that of the choice
        f"{where}: needs exactly one of {', '.join(methods)}; has {', '.join(sorted(config))}; to give one of your "
        "own, begin with quantization=none",
    )
    try:
        checked = getattr(methods[method].model_validate(config), method)
    except ValidationError as invalid:
        # A typo before what is then missing.
        error = max(invalid.errors(), key=lambda one: one["type"] == "extra_forbidden")
        place = ".".join([where, *map(str, error["loc"])])
        if error["type"] == "extra_forbidden":
            known = methods[method].model_fields[method].annotation.model_fields
            raise ConfigError(f"{place}: Qdrant has no such key{near_miss(str(error['loc'][-1]), known)}") from invalid
        raise ConfigError(f"{place}={error['input']!r}: {error['msg']}") from invalid
    for key in ("memory", "always_ram"):
        require(
            key not in (inner or {}),
            f"{where}.{method}.{key}: placement belongs to the storage group; set storage.quantized instead",
        )
    quantile = getattr(checked, "quantile", None)
    require(
        quantile is None or 0.5 <= quantile <= 1.0,
        f"{where}.{method}.quantile={quantile}: Qdrant accepts 0.5 to 1.0",
    )


@dataclass(frozen=True)
class StorageConfig:
    """Qdrant's `memory` placement of each component, and the datatype of the original vectors."""

    name: str = MISSING
    vectors: str = "cold"
    quantized: str = "pinned"
    hnsw: str = "cached"
    datatype: str = "float32"

    def __post_init__(self) -> None:
        one_of("storage.vectors", self.vectors, ("cold", "cached"))
        one_of("storage.quantized", self.quantized, ("cold", "cached", "pinned"))
        one_of("storage.hnsw", self.hnsw, ("cold", "cached", "pinned"))
        one_of("storage.datatype", self.datatype, DATATYPES)


@dataclass(frozen=True)
class IndexConfig:
    """HNSW parameters; `full_scan_threshold` is in KiB of vectors, as in Qdrant.

    Null is what the live collection has that the dataset comes from, else Qdrant's default: 16, 100 and 10,000; of
    fewer KiB of vectors than these, half of them, so that searches use the index.
    """

    name: str = "hnsw"
    m: int | None = None
    ef_construct: int | None = None
    full_scan_threshold: int | None = None
    segments: int = 1

    def __post_init__(self) -> None:
        at_least("index.m", self.m, 2)
        at_least("index.ef_construct", self.ef_construct, 4)
        at_least("index.full_scan_threshold", self.full_scan_threshold, LEAST_SCAN)
        at_least("index.segments", self.segments, 1)
