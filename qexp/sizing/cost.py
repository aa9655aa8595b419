"""RAM as money."""

from qexp.config import CostConfig
from qexp.results import Cost, RamEstimate

GB = 10**9


def ram_usd_month(ram_bytes: float, cost: CostConfig) -> float:
    """Return US dollars per month: bytes / 10^9 × price × replication × (1 + headroom)."""
    return ram_bytes / GB * cost.usd_per_gb_month * cost.replication * (1 + cost.headroom)


def price(quantized: RamEstimate, baseline: RamEstimate, cost: CostConfig) -> Cost:
    """Price the predicted RAM of a collection and of its baseline."""
    return Cost(ram_usd_month(quantized.ram, cost), ram_usd_month(baseline.ram, cost))
