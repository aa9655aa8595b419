"""How many keys differ, and how often each comes, in bounded memory."""

from collections.abc import Callable, Hashable
from hashlib import blake2b

MOST = 100_000
FREQUENT = 10  # a key with more than so many occurrences in as many as there may be keys is kept whatever its place


class Distinct:
    """Counts of distinct keys: of all of them up to about `most`, beyond that of a share that stands for all.

    Distinct sampling: a key has a place in [0, 1) by its digest, and is counted if that is below the share, which is
    halved whenever there are too many; so each key is counted from its first occurrence or never. Sums over 100,000
    keys of about equal weight are then off by about 0.5 %; frequent keys, which weigh more, are not left to chance.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._share = 1.0
        self._seen = 0
        self._counts: dict[Hashable, int] = {}
        self._weights: dict[Hashable, float] = {}  # of frequent keys: how many each stands for

    def __contains__(self, key: Hashable) -> bool:
        """Whether the key is counted."""
        return key in self._counts

    def add(self, key: Hashable) -> None:
        """Count one occurrence."""
        self._seen += 1
        if key in self._counts:
            self._counts[key] += 1
        elif self._share == 1 or _place(key) < self._share:
            self._counts[key] = 1
            if len(self._counts) > self._most:
                self._halve()

    def total(self, of: Callable[[Hashable, int], float]) -> float:
        """Return the sum of `of(key, count)` over all distinct keys."""
        rest = 1 / self._share
        return sum(of(key, count) * self._weights.get(key, rest) for key, count in self._counts.items())

    def _halve(self) -> None:
        for key, count in self._counts.items():
            if count * self._most > FREQUENT * self._seen:
                self._weights.setdefault(key, 1 / self._share)
        self._share /= 2
        self._counts = {
            key: count for key, count in self._counts.items() if key in self._weights or _place(key) < self._share
        }


def _place(key: Hashable) -> float:
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest()) / 2**64
