"""Qdrant's own filter JSON, which the schema check has accepted, as Qdrant Edge's objects."""

from typing import Any

import qdrant_edge as edge
from qdrant_client import models

from qexp.errors import ConfigError


def edge_filter(condition: dict[str, Any]) -> Any:
    """Translate a filter; raise ConfigError for a condition that is not translated."""
    return _filter(models.Filter.model_validate(condition))


def _filter(given: models.Filter) -> Any:
    least = given.min_should
    return edge.Filter(
        must=_conditions(given.must),
        should=_conditions(given.should),
        must_not=_conditions(given.must_not),
        min_should=edge.MinShould([_condition(one) for one in least.conditions], least.min_count) if least else None,
    )


def _conditions(given: Any) -> list[Any] | None:
    """Translate a list of conditions, or the one condition that Qdrant accepts in its place."""
    if given is None:
        return None
    return [_condition(one) for one in (given if isinstance(given, list) else [given])]


def _condition(given: Any) -> Any:
    if isinstance(given, models.FieldCondition):
        return edge.FieldCondition(
            given.key,
            match=_match(given.match) if given.match else None,
            range=_range(given.range) if given.range else None,
            geo_bounding_box=_box(given.geo_bounding_box) if given.geo_bounding_box else None,
            geo_radius=_circle(given.geo_radius) if given.geo_radius else None,
            geo_polygon=_polygon(given.geo_polygon) if given.geo_polygon else None,
            values_count=edge.ValuesCount(**given.values_count.model_dump()) if given.values_count else None,
            is_empty=given.is_empty,
            is_null=given.is_null,
        )
    if isinstance(given, models.Filter):
        return _filter(given)
    if isinstance(given, models.IsEmptyCondition):
        return edge.IsEmptyCondition(given.is_empty.key)
    if isinstance(given, models.IsNullCondition):
        return edge.IsNullCondition(given.is_null.key)
    if isinstance(given, models.HasIdCondition):
        return edge.HasIdCondition(set(given.has_id))
    if isinstance(given, models.SliceCondition):
        return edge.SliceCondition(given.slice.total, given.slice.index)  # type: ignore[attr-defined]  # of its stubs
    if isinstance(given, models.NestedCondition):
        return edge.NestedCondition(given.nested.key, _filter(given.nested.filter))
    raise ConfigError(f"search.filter: {type(given).__name__} is not translated for Qdrant Edge; use engine=server")


def _match(given: Any) -> Any:
    """Every kind of match has one field, which is the argument of Edge's class of the same name."""
    if isinstance(given, models.MatchValue) and isinstance(given.value, bool):  # Edge makes a 1 of it, found nowhere
        raise ConfigError("search.filter: Qdrant Edge matches no booleans; use engine=server")
    return getattr(edge, type(given).__name__)(*given.model_dump().values())


def _range(given: models.Range | models.DatetimeRange) -> Any:
    ends = {name: end for name, end in given.model_dump().items() if end is not None}
    if isinstance(given, models.Range):
        return edge.RangeFloat(**ends)
    return edge.RangeDateTime(**{name: end.isoformat() for name, end in ends.items()})


def _point(given: models.GeoPoint) -> Any:
    return edge.GeoPoint(given.lon, given.lat)


def _box(given: models.GeoBoundingBox) -> Any:
    return edge.GeoBoundingBox(_point(given.top_left), _point(given.bottom_right))


def _circle(given: models.GeoRadius) -> Any:
    return edge.GeoRadius(_point(given.center), given.radius)


def _polygon(given: models.GeoPolygon) -> Any:
    rings = [[_point(point) for point in ring.points] for ring in given.interiors or []]
    return edge.GeoPolygon([_point(point) for point in given.exterior.points], rings)
