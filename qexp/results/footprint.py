"""Typed records of memory and money: what a process uses, what a cap does to it, what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

READ_THROUGH = 0.98  # of a file's bytes in memory: all of it was read
SLOWED = 2.0  # times slower than with all the memory it wants
WAITING = 0.05  # page faults a query without which being slower is the machine's mood, and not want of memory


@dataclass(frozen=True)
class ProcessMemory:
    """A process now: resident bytes by kind, their peak so far, and its counters so far.

    `minor` and `major` are page faults, major ones had to wait for the disk; `read` are bytes read from disk, None
    where the system does not say.
    """

    anonymous: int
    file: int
    shared: int
    peak: int
    minor: int
    major: int
    read: int | None


@dataclass(frozen=True)
class Comparison:
    """One component, predicted beside measured, in bytes; what the engine does not say is None.

    `predicted` of RAM and `guide`, the same by Qdrant's capacity planning guide; `predicted_file` and the `file` there
    is, `spare` bytes of which are ahead of what is in it; resident bytes when the collection was `loaded`, when it was
    `warm`, and after the last round, as pages of mapped files (`mapped`) and as `heap`.
    """

    name: str
    need: str
    predicted: int
    guide: int
    predicted_file: int
    file: int | None
    loaded: int | None
    warm: int | None
    mapped: int | None
    heap: int | None
    spare: int = 0

    @property
    def resident(self) -> int | None:
        """Bytes in RAM after the last round."""
        return None if self.mapped is None or self.heap is None else self.mapped + self.heap

    @property
    def half_read(self) -> bool:
        """Whether it is read page by page as searches walk, and some of it has not been."""
        if self.need != "hot" or self.file is None or self.resident is None:
            return False
        return self.resident < READ_THROUGH * (self.file - self.spare)

    @property
    def file_disagreement(self) -> float | None:
        """How far the prediction is above the files' bytes, in percent; None where none was made."""
        return disagreement(self.predicted_file, self.file) if self.predicted_file else None

    @property
    def ram_disagreement(self) -> float | None:
        """How far the prediction is above the resident bytes, in percent; None for what is meant to stay on disk."""
        return disagreement(self.predicted, self.resident) if self.need != "disk" and self.predicted else None


def disagreement(predicted: float, measured: float | None) -> float | None:
    """Return predicted / measured - 1 in percent; None where nothing was measured."""
    return 100 * (predicted / measured - 1) if measured else None


@dataclass(frozen=True)
class Bill:
    """What one collection costs each month: for RAM (or whole machines, named by `machines`) and for disk.

    `serving` is how many times as many copies are paid for as were measured; None where other points are paid for.
    """

    ram_bytes: float
    disk_bytes: float
    ram_usd_month: float
    disk_usd_month: float
    machines: str | None = None
    serving: float | None = 1.0

    @property
    def usd_month(self) -> float:
        """US dollars per month, together."""
        return self.ram_usd_month + self.disk_usd_month

    def usd_month_per_1000_qps(self, qps: float) -> float | None:
        """Return US dollars per month for a thousand queries per second, where every copy has the measured throughput.

        None where other points are paid for than were measured.
        """
        return self.usd_month / (qps * self.serving) * 1000 if self.serving else None


@dataclass(frozen=True)
class Cost:
    """Monthly bills of a collection and of its baseline for `points` vectors: predicted, and from measured bytes.

    `theory` are US dollars per month by the formula GB of vectors / published compression × price of RAM, without
    and with quantization.
    """

    points: int
    predicted: Bill
    baseline: Bill
    measured: Bill | None = None
    baseline_measured: Bill | None = None
    theory_baseline: float | None = None
    theory: float | None = None

    @property
    def savings_usd_month(self) -> float:
        """What the quantized collection saves each month; negative where it costs more."""
        return self.baseline.usd_month - self.predicted.usd_month

    @property
    def savings_usd_year(self) -> float:
        """Twelve months of savings."""
        return 12 * self.savings_usd_month

    @property
    def measured_savings_usd_month(self) -> float | None:
        """The savings by measured bytes; None where they are unknown."""
        if self.measured is None or self.baseline_measured is None:
            return None
        return self.baseline_measured.usd_month - self.measured.usd_month

    @property
    def theory_savings_usd_month(self) -> float | None:
        """The savings by the formula; None where no compression was published."""
        if self.theory is None or self.theory_baseline is None:
            return None
        return self.theory_baseline - self.theory

    @property
    def usd_month_per_million(self) -> float:
        """US dollars per month for a million vectors, predicted."""
        return self.predicted.usd_month / self.points * 1e6


@dataclass(frozen=True)
class CapTrial:
    """One operating point under one memory cap; `cap` is None without one, latencies are None if it was killed.

    `method` is the quantization's name, `none` for the baseline, and `told` what else sets its job apart in a sweep;
    `wanted` bytes is what that job's unquantized collection wants in RAM. `typical_ms` is the median of the rounds'
    means, which one stalled round does not move; `base_ms` is the mean of the baseline in the same rounds under the
    same cap, to which `speedup` compares. `faults` and bytes `read` from disk are a query's in the median round;
    `marked` rounds have fault counts unlike that one's.
    """

    method: str
    point: str
    cap: int | None
    mean_ms: float | None = None
    typical_ms: float | None = None
    p95_ms: float | None = None
    speedup: float | None = None
    faults: float | None = None
    read: float | None = None
    marked: int = 0
    rounds: int = 0
    base_ms: float | None = None
    wanted: int | None = None
    told: str = ""

    @property
    def killed(self) -> bool:
        """Whether the kernel killed it for want of memory."""
        return self.typical_ms is None

    def slower(self, free: "CapTrial") -> float | None:
        """Return how many times slower it is than without a cap; None if it was killed."""
        return None if self.typical_ms is None or free.typical_ms is None else self.typical_ms / free.typical_ms


@dataclass(frozen=True)
class Cliff:
    """All operating points under all caps.

    `wanted` bytes is what the unquantized collection wants in RAM, of the first job where there are several.
    """

    wanted: int
    trials: tuple[CapTrial, ...]

    def share(self, trial: CapTrial) -> float | None:
        """Return a trial's cap as a share of what its job's unquantized collection wants; None without a cap."""
        return None if trial.cap is None else trial.cap / (trial.wanted or self.wanted)

    def series(self) -> dict[tuple[str, str, str], list[CapTrial]]:
        """Return the trials of each method, point and job: first without a cap, then from the largest cap down."""
        found: dict[tuple[str, str, str], list[CapTrial]] = {}
        for trial in self.trials:
            found.setdefault((trial.method, trial.point, trial.told), []).append(trial)
        return {key: sorted(trials, key=lambda trial: -(trial.cap or 1 << 62)) for key, trials in found.items()}

    def floor(self, method: str, point: str) -> int | None:
        """Return the smallest cap in bytes with which it still holds, of a single job; None if with none of them."""
        standing = holding(self.series()[(method, point, "")])
        return standing[-1].cap if standing else None

    def fallen(self, method: str, point: str) -> int | None:
        """Return the largest cap in bytes with which it does not hold, of a single job; None if it holds with all."""
        series = self.series()[(method, point, "")]
        below = series[1 + len(holding(series)) :]
        return below[0].cap if below else None


def holding(series: Sequence[CapTrial]) -> list[CapTrial]:
    """Return those of a series, from the largest cap down, before the first that fell: was killed, or waits for a disk.

    Waiting is being more than 2 times slower than without a cap, with a page fault in every twentieth query or more.
    """
    free, *capped = series
    standing = []
    for trial in capped:
        slower = trial.slower(free)
        if slower is None or (slower > SLOWED and (trial.faults is None or trial.faults >= WAITING)):
            break
        standing.append(trial)
    return standing
