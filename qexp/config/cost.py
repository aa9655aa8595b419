"""The schema of prices, and of what a configuration must reach."""

from dataclasses import dataclass, field

from qexp.config.checks import MISSING, MOST, above_zero, at_least, one_of, require

MEASURES = ("retention", "recall")  # of accuracy
OBJECTIVES = ("accuracy", "p95", "cost")  # by which one configuration dominates another
LEAST_GIB = 1e-6  # of RAM in a machine: less is none


@dataclass(frozen=True)
class NodeConfig:
    """A machine that can be rented: its RAM (1 GiB = 2^30 bytes) and its price per hour."""

    name: str = MISSING
    ram_gib: float = MISSING
    usd_per_hour: float = MISSING

    def __post_init__(self) -> None:
        require(
            LEAST_GIB <= self.ram_gib <= MOST,
            f"cost.nodes: ram_gib={self.ram_gib:g} of {self.name}: must be from {LEAST_GIB:g} to {MOST:g}",
        )
        at_least(f"cost.nodes: usd_per_hour of {self.name}", self.usd_per_hour, 0)


@dataclass(frozen=True)
class CostConfig:
    """Prices per month (1 GB = 10^9 bytes), copies of the data, spare memory, and how many points to price.

    With `nodes` RAM is rented in whole machines, the cheapest of these, at prices of the day `as_of` from `source`.
    `target_points` null prices the points there are. `payload_bytes` is the mean size of a point's payload as JSON,
    where it is not the dataset's own that is to be priced (0).
    """

    name: str = MISSING
    usd_per_gb_month: float = 10.0
    disk_usd_per_gb_month: float = 0.0
    replication: int = 1
    headroom: float = 0.0
    target_points: int | None = None
    payload_bytes: int = 0
    payload_in_ram: bool = False
    nodes: list[NodeConfig] = field(default_factory=list)
    as_of: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        for key in ("usd_per_gb_month", "disk_usd_per_gb_month", "headroom", "payload_bytes"):
            at_least(f"cost.{key}", getattr(self, key), 0)
        at_least("cost.replication", self.replication, 1)
        at_least("cost.target_points", self.target_points, 1)


@dataclass(frozen=True)
class SloConfig:
    """What a configuration must reach to be recommended; `accuracy` names the measure, null is no limit.

    It must not be dominated either, in two or three `objectives`.
    """

    name: str = MISSING
    accuracy: str = "retention"
    min_accuracy: float = 0.95
    max_p95_ms: float | None = None
    max_ram_mib: float | None = None
    max_usd_month: float | None = None
    objectives: list[str] = field(default_factory=lambda: list(OBJECTIVES))

    def __post_init__(self) -> None:
        one_of("slo.accuracy", self.accuracy, MEASURES)
        for objective in self.objectives:
            one_of("slo.objectives", objective, OBJECTIVES)
        require(
            len(set(self.objectives)) >= 2,
            f"slo.objectives=[{','.join(self.objectives)}]: must be two or three of {', '.join(OBJECTIVES)}",
        )
        require(0 <= self.min_accuracy <= 1, f"slo.min_accuracy={self.min_accuracy:g}: must be from 0 to 1")
        for key in ("max_p95_ms", "max_ram_mib", "max_usd_month"):
            above_zero(f"slo.{key}", getattr(self, key), "no limit")
