"""Figures as text, with as many digits as mean something."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

ALL_DIGITS = 12  # after the point, of any figure that is recorded


def money(usd: float) -> str:
    """Return US dollars with as many digits as mean something."""
    return f"${usd:,.2f}" if abs(usd) >= 0.1 or usd == 0 else f"${Decimal(f'{usd:.2g}'):f}"


def percent(share: float) -> str:
    """Return a share as a percentage with two significant digits at most below 10 %."""
    return f"{share:.0%}" if abs(share) >= 0.1 else f"{share:.1%}"


def more(mine: float, whole: float) -> str:
    """Return `3.2× less` or `1.1× more`; never `1.0× less`."""
    if mine == whole:
        return "as much"
    times = f"{whole / mine if mine < whole else mine / whole:.1f}"
    return "about as much" if times == "1.0" else f"{times}× {'less' if mine < whole else 'more'}"


def beyond(limit: float, down: bool) -> str:
    """Return three decimals of a limit, rounded so that what they ask for has the effect of the limit itself.

    More, where rounding would lead to 0 or 1, of which nobody can ask for less or more.
    """
    exact = Decimal(str(limit))
    for digits in range(3, ALL_DIGITS + 1):
        rounded = exact.quantize(Decimal(1).scaleb(-digits), ROUND_FLOOR if down else ROUND_CEILING)
        if rounded == exact or rounded not in (0, 1):
            break
    return f"{rounded:f}"


def missing(value: float, limit: float, digits: int = 3) -> str:
    """Return a figure with as many decimals as tell it from the limit that it misses: none is printed as keeping it."""
    while f"{value:.{digits}f}" == f"{limit:.{digits}f}" and digits < ALL_DIGITS:
        digits += 1
    return f"{value:.{digits}f}"
