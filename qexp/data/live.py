"""Requests to a live collection, which is only read."""

import logging
import time
from collections.abc import Callable
from typing import Any

from qexp.config import CollectionDataset
from qexp.errors import EngineError, in_one_line

log = logging.getLogger(__name__)


def ask(config: CollectionDataset, call: Callable[[], Any], kept: int = 0) -> Any:
    """Call the client; raise EngineError with one line for every way to fail, and how many points are `kept` then."""
    from pydantic import ValidationError
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    try:
        return _rationed(config, call)
    except (UnexpectedResponse, ResponseHandlingException, ValidationError, ValueError, OSError) as error:
        goes_on = f"; {kept:,} points are kept, and a new run goes on from there" if kept else ""
        raise EngineError(_failure(config, error) + goes_on) from error


def _failure(config: CollectionDataset, error: Exception) -> str:
    import httpx
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    from qexp.engine.wire import reason_in, unreachable

    where = config.url
    if isinstance(error, UnexpectedResponse):
        reason = reason_in(error.status_code or 0, error.content.decode(errors="replace"))
        if error.status_code in (401, 403):
            return f"{where}: refused ({error.status_code}: {reason}); set QDRANT_API_KEY to a key that may read"
        if error.status_code == 404:
            return f"{where}: no collection '{config.collection}' (404); is it the right server?"
        return f"{where}: the server answered {error.status_code} ({reason})"
    source = error.source if isinstance(error, ResponseHandlingException) else error
    if isinstance(source, httpx.HTTPError) and not isinstance(source, httpx.TimeoutException):
        return str(unreachable(source, where))
    return f"{where}: cannot be read: {in_one_line(source)[:200]}; start the server or correct the URL"


def _rationed(config: CollectionDataset, call: Callable[[], Any]) -> Any:
    """Call as late as strict mode's `read_rate_limit` wants."""
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

    while True:
        try:
            return call()
        except ResourceExhaustedResponse as error:
            log.info("%s: its strict mode allows no more reads for %s s", config.collection, error.retry_after_s)
            time.sleep(error.retry_after_s)
