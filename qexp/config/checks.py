"""Checks that the schema's classes share; each raises ConfigError."""

import math
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from qexp.errors import ConfigError, near_miss

MOST = 1e15  # of anything: beyond, sums of money end in infinity, and Qdrant's 64 bits overflow
MISSING: Any = "???"  # OmegaConf's mark for a value that a preset or the user must give


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with `message` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def one_of(key: str, value: str, known: Iterable[str]) -> None:
    """Refuse a value that is not known, naming the near miss."""
    known = list(known)
    require(value in known, f"{key}={value}: no such value{near_miss(value, known)}")


def plain(key: str, values: Iterable[Any]) -> None:
    """Refuse a list with a list or a mapping in it, which OmegaConf lets through."""
    nested = any(isinstance(value, list | dict) for value in values)
    require(not nested, f"{key}={values}: an item is a list or mapping; write [a,b], and in a sweep [a],[b]")


def at_least(key: str, value: float | None, least: float, most: float = MOST) -> None:
    """Refuse a number that is below `least`, above `most`, infinite or no number; null passes."""
    if value is None:
        return
    require(isinstance(value, int) or math.isfinite(value), f"{key}={value}: must be a finite number")
    require(value <= most, f"{key}: must be at most {most:g}")
    told = value if isinstance(value, int) else f"{value:g}"  # floats end before integers do
    require(value >= least, f"{key}={told}: must be at least {least:g}")


def above_zero(key: str, value: float | None, null: str) -> None:
    """Refuse a number that is not finite or not above 0; null, which means `null`, passes."""
    allowed = value is None or 0 < value < math.inf
    require(allowed, f"{key}={value}: must be a finite number above 0, or null for {null}")


def no_secret(key: str, url: str) -> None:
    """Refuse a URL that carries a user, a password or a query, without repeating it."""
    require(
        not {"@", "?", "#"} & set(url),
        f"{key}: must not carry a user, password or query; the API key belongs in QDRANT_API_KEY",
    )


def server_url(key: str, url: str) -> None:
    """Refuse what is no URL of a server, or carries a secret."""
    from urllib3.exceptions import LocationParseError  # here, because every worker imports this module
    from urllib3.util import parse_url

    no_secret(key, url)
    require(not re.search(r"\s", url), f"{key}={url}: has a space in it; leave that out")
    try:
        parts = urlsplit(url)
        _ = parts.port, (parts.hostname or "").encode("idna"), parse_url(url)
    except (ValueError, LocationParseError) as error:
        raise ConfigError(f"{key}={url}: {error}") from error
    require(
        parts.scheme in ("http", "https") and bool(parts.hostname),
        f"{key}={url}: must be http://host:port or https://host:port",
    )
