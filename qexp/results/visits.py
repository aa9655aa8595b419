"""What a visit to an operating point brings back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from qexp.results.values import WIDEST, Ids, Nanoseconds, OperatingPoint


class Search(NamedTuple):
    """A search in three parts, so that only `call` is timed.

    `prepare` turns a query vector, or what the engine's `query` made of it, into a request, `call` sends it, `ids` gets
    the row numbers off the response, `scores` what they scored, best first; None if this search cannot say.
    `server_seconds` reads the time that the server says it took, where there is a server. `several` sends requests
    together and returns their responses in order, where that is faster than `call`.
    """

    prepare: Callable[[Any], Any]
    call: Callable[[Any], Any]
    ids: Callable[[Any], list[int]]
    scores: Callable[[Any], list[float]] | None = None
    server_seconds: Callable[[Any], float] | None = None
    several: Callable[[list[Any]], list[Any]] | None = None


class Reads(NamedTuple):
    """Page faults that waited for the disk, and bytes read from it (None where the system does not say)."""

    major_faults: int = 0
    bytes: int | None = None

    def minus(self, earlier: "Reads") -> "Reads":
        """Return what was read since an earlier count."""
        taken = None if self.bytes is None or earlier.bytes is None else self.bytes - earlier.bytes
        return Reads(self.major_faults - earlier.major_faults, taken)

    def plus(self, other: "Reads") -> "Reads":
        """Return the sum."""
        total = None if self.bytes is None or other.bytes is None else self.bytes + other.bytes
        return Reads(self.major_faults + other.major_faults, total)


NO_READS = Reads()


@dataclass(frozen=True)
class Block:
    """One visit to an operating point: nanoseconds per query, and results (row numbers, -1 where none) if asked for.

    `reads` counts what the timed queries took from disk, `server` are the nanoseconds that the server says each took;
    None without a server.
    """

    latencies: Nanoseconds
    ids: Ids | None = None
    reads: Reads = NO_READS
    server: Nanoseconds | None = None


@dataclass(frozen=True)
class Measurement:
    """All visits to one operating point: latencies [round, query] in nanoseconds, results [query, limit].

    `server` is the server's share of the latencies; None without a server.
    """

    latencies: Nanoseconds
    ids: Ids
    reads: Reads = NO_READS
    server: Nanoseconds | None = None


class Visit(NamedTuple):
    """Who is visited in a round: an operating point in the `role` of baseline, control (the same again) or trial."""

    role: str
    point: OperatingPoint

    @property
    def title(self) -> str:
        """The name under which raw latencies are kept."""
        return f"{self.role}: {self.point.title}"


@dataclass(frozen=True)
class Stop:
    """Why the rounds ended: their number, and the widest half-width of a speedup's interval against its target.

    `budget` are the seconds after which there are no more rounds than the fewest; with 0 no target is striven for.
    """

    rounds: int
    halfwidth: float
    target: float
    seconds: float
    budget: float

    @property
    def reached(self) -> bool:
        """Whether every speedup is known as closely as was asked for."""
        return self.halfwidth <= self.target

    def __str__(self) -> str:
        close = f"to ± {self.halfwidth:.1%} or closer" if self.halfwidth < WIDEST else f"no closer than ± {WIDEST:.0%}"
        how = f"speedups known {close} after {self.rounds} rounds ({self.seconds:.0f} s)"
        missed = f"; the target of ± {self.target:.1%} was not reached in search.budget_seconds"
        return how + missed if self.budget and not self.reached else how


@dataclass(frozen=True)
class Check:
    """A trap: its id, what was looked at, and whether it `held`, a `warning` was given, or it is `not known` here."""

    trap: str
    what: str
    verdict: str
    detail: str = ""


class LoadLevel(NamedTuple):
    """A load: `clients` that search without pause, or queries that arrive at `rate` per second, dealt to clients."""

    clients: int
    rate: float | None = None

    @property
    def title(self) -> str:
        """A short name."""
        clients = "1 client" if self.clients == 1 else f"{self.clients} clients"
        return clients if self.rate is None else f"{self.rate:g} queries/s"


class LoadSample(NamedTuple):
    """What one client, or all together, did in one block: nanoseconds per query, seconds, and queries not reached.

    `late` ones were due and not begun when the block was to end; those that were reached all the same have latencies.
    """

    latencies: Nanoseconds
    seconds: float
    unserved: int
    late: int = 0
