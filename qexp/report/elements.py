"""What a report consists of, whatever it is written in."""

import re
from dataclasses import dataclass

_FIGURE = re.compile(r"^$|^[\s$+\-−]*\d")


@dataclass(frozen=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """One paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Ticks:
    """Criteria: whether each is met, and what is said about it."""

    items: tuple[tuple[bool, str], ...]


@dataclass(frozen=True)
class Grid:
    """A table; a row whose number is in `marked` stands out, and a `folded` one opens on demand under its title."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[int] = frozenset()
    folded: str = ""

    @property
    def figures(self) -> tuple[bool, ...]:
        """Which columns hold nothing but figures."""
        return tuple(all(_FIGURE.match(row[place]) for row in self.rows) for place in range(len(self.header)))


@dataclass(frozen=True)
class Tiles:
    """The few figures that decide: label, value, remark."""

    items: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Verdict:
    """The decision in one sentence."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A plot by name, with what it shows in words."""

    name: str
    alt: str


@dataclass(frozen=True)
class Quote:
    """Text to copy."""

    text: str


Element = Heading | Paragraph | Bullets | Ticks | Grid | Tiles | Verdict | Picture | Quote
