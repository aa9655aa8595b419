"""How often intervals hold a known truth, and what share of them should."""

from dataclasses import dataclass

from scipy import stats

from qexp.results import Interval

SLOWDOWNS = (1.0, 1.02, 1.05, 1.2)


@dataclass
class Score:
    """How often intervals held the truth, and how often they excluded 1."""

    comparisons: int = 0
    covered: int = 0
    different: int = 0
    halfwidth: float = 0.0

    def add(self, found: Interval, truth: float) -> None:
        """Score one comparison."""
        self.comparisons += 1
        self.covered += found.low <= truth <= found.high
        self.different += found.distinguishable
        self.halfwidth += found.halfwidth

    def cells(self) -> str:
        """Return coverage, share called different, mean half-width."""
        n = self.comparisons
        return f"{self.covered / n:.1%} | {self.different / n:.1%} | ± {self.halfwidth / n:.1%}"


def goal(name: str, hits: int, of: int, low: float, high: float) -> bool:
    """Print whether a share is within its goal, with its own 95 % interval (Wilson); False if it is surely not."""
    spread = stats.binomtest(hits, of).proportion_ci(method="wilson")
    inside = low <= hits / of <= high
    surely_not = spread.high < low or spread.low > high
    verdict = "reached" if inside else "MISSED" if surely_not else f"not told apart from it by {of} comparisons"
    print(f"- {name}: {hits / of:.1%} ({spread.low:.1%}–{spread.high:.1%}), goal {low:.0%}–{high:.0%}: {verdict}")
    return not surely_not
