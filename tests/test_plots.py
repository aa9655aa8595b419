"""Plots of a few collections, and of many."""

import warnings
from itertools import pairwise

import numpy as np
import pytest

from qexp.config import SloConfig
from qexp.report.canvas import LIGHT, NARROW, WIDE, Frame, svg
from qexp.report.plots import MARKERS, Box, _frontier, _latency, _oversampling, _styles
from qexp.report.plots_memory import _ram_bars, ram_plot
from qexp.report.recommend import Recommendation, recommend
from qexp.report.record import CollectionRecord
from tests.tables import baseline, row


def decided(collections: int) -> Recommendation:
    rows = [baseline()]
    for number in range(collections):
        rows += [row(f"a_method_of_a_long_name_{number}", factor, p95=1 + number / 10) for factor in (1, 2)]
    return recommend(rows, SloConfig("default", min_accuracy=0.9))


def test_no_two_collections_look_the_same() -> None:
    styles = list(_styles(decided(60), LIGHT).values())
    assert len(set(styles)) == len(styles) == 60
    assert "*" not in MARKERS  # what no quantization is drawn as


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_many_collections_make_plots_taller_and_not_their_axes_lower(size: tuple[float, float]) -> None:
    frame = Frame(LIGHT, size)
    few, many = decided(3), decided(40)
    for draw in (_frontier, _oversampling):
        heights = []
        for one in (few, many):
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # matplotlib only warns where axes have no room at all
                figure = draw(one, frame)
                svg(figure)
            heights.append(figure.axes[0].get_position().height * figure.get_figheight())
        assert heights[1] > 0.8 * heights[0]


def test_the_graph_of_no_quantization_is_the_one_built_without_codes() -> None:
    sizes = {"graph": 3.0, "id_tracker": 1.0, "codes": 2.0, "vectors": 12.0}
    whole = {"graph": 2.0, "id_tracker": 1.0, "vectors": 12.0}
    metrics = {f"{part}_predicted_mib": size for part, size in sizes.items()}
    metrics |= {f"baseline_{part}_predicted_mib": size for part, size in whole.items()}
    config, rows = {"storage.name": "a", "storage.vectors": "cold"}, (baseline(), row("binary"))
    bare, own = _ram_bars([CollectionRecord("", config, metrics, {}, {}, {}, rows)], LIGHT)
    assert {part: told[1:] for part, told in bare[1].items()} == {part: (size, True) for part, size in whole.items()}
    assert {part: told[1:] for part, told in own[1].items()} == {
        part: (size, part != "vectors") for part, size in sizes.items()
    }
    again = row("none")
    again.metrics["compression_ratio"] = 1.0
    ((name, _),) = _ram_bars([CollectionRecord("", config, metrics, {}, {}, {}, (baseline(), again))], LIGHT)
    assert name == "no quantization"


def test_names_beside_many_boxes_do_not_overlap() -> None:
    many = decided(40)
    boxes = [Box(found.collection, many.title(found.best), np.array([1.0, 2.0]), False) for found in many.matched]
    for size in (WIDE, NARROW):
        figure = _latency(boxes, many, Frame(LIGHT, size))
        figure.draw_without_rendering()
        extents = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
        assert all(upper.y0 >= lower.y1 - 2 for lower, upper in pairwise(extents))


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("tuned", [(), (1.2, 1.5, 3.1, 3.2, 3.9, 9.0), (20, 25, 31), (24, 27, 30.3)])
def test_oversampling_factors_below_the_axis_do_not_overlap(
    size: tuple[float, float], tuned: tuple[float, ...]
) -> None:
    grid = (1, 2, 3, 5, 8, 10)
    rows = [baseline(), row("scalar", None), *(row("scalar", factor) for factor in (*grid, *tuned))]
    figure = _oversampling(recommend(rows, SloConfig("default", min_accuracy=0.9)), Frame(LIGHT, size))
    figure.draw_without_rendering()
    labels = [label for label in figure.axes[0].get_xticklabels() if label.get_visible()]
    extents = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in pairwise(extents))
    assert tuned or [label.get_text() for label in labels[1:]] == [f"{factor}×" for factor in grid]


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_long_names_beside_boxes_and_bars_leave_the_axes_their_room(size: tuple[float, float]) -> None:
    told = {"settings": "index.m=32 index.ef_construct=100 index.full_scan_threshold=1000", "storage": "on_disk"}
    rows = (baseline(**told), row("binary_asymmetric_4bit", 2, **told))
    metrics = {"graph_predicted_mib": 1.0, "baseline_graph_predicted_mib": 1.0}
    configs = [{"storage.name": name, "storage.vectors": "cold"} for name in ("on_disk", "hot")]
    jobs = [CollectionRecord("", config, metrics, {}, {}, {}, rows) for config in configs]
    one = recommend(rows, SloConfig("default"))
    boxes = [Box(found.collection, one.title(found.best), np.array([1.0, 2.0]), False) for found in one.matched]
    frame = Frame(LIGHT, size)
    for figure in (_latency(boxes, one, frame), ram_plot(jobs, frame)):
        figure.draw_without_rendering()
        assert figure.axes[0].get_position().width > 0.3
        extents = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
        assert min(extent.x0 for extent in extents) >= 0
        assert all(upper.y0 >= lower.y1 - 2 for lower, upper in pairwise(extents))
