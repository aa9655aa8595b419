"""The few kinds of error that are the user's to mend; anything else is a bug."""

from collections.abc import Iterable
from difflib import get_close_matches


class QexpError(Exception):
    """One line that says what is wrong, where, and what to do; the command ends with exit code 2."""


class ConfigError(QexpError):
    """The composed configuration asks for something that cannot be."""


class DataError(QexpError):
    """The dataset cannot be used as it is."""


class EngineError(QexpError):
    """The engine cannot be reached, refused the work, or died."""


class TrackingError(QexpError):
    """The tracking store failed; what was measured is kept on disk and logged later."""


class BenchmarkError(QexpError):
    """The measurement would be wrong, so no figure is given."""


MOST_NAMED = 30  # more known words than that are no help


def near_miss(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known word closest to `word`, else the known words."""
    known = sorted(known)
    if close := get_close_matches(word, known, n=1, cutoff=0.6):
        return f" (did you mean '{close[0]}'?)"
    return f" (known: {', '.join(known)})" if 0 < len(known) <= MOST_NAMED else ""


def in_one_line(text: object) -> str:
    """Return a text, or what an error says, with its lines and blanks put together."""
    return " ".join(str(text).split())


class Refused(BaseException):
    """Carries an error out of a Hydra callback, where every Exception becomes a warning."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason
