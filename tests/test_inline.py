import re

from qexp.report.canvas import DARK, LIGHT, NARROW, WIDE, Frame, axes_of, svg
from qexp.report.inline import Drawings, colours


def drawn(size: tuple[float, float]) -> str:
    figure, axes = axes_of(Frame(LIGHT, size), "x", "y", "title")
    axes.bar([0, 1], [1, 2], color=LIGHT.series[0], hatch="//")
    return svg(figure)


def test_plots_of_a_page_share_their_letters_and_no_other_name() -> None:
    page = Drawings()
    text = "".join(page.figure(drawn(NARROW), drawn(WIDE), "<what>") for _ in range(2)) + page.glyphs()
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len(set(names))
    assert {*re.findall(r'(?:href="#|url\(#)([^")]+)', text)} <= {*names}
    assert re.search(r"fill: url\(#d\d-", text)
    assert text.count('aria-label="&lt;what&gt;"') == 2
    assert not re.search(r"xmlns|xlink|http|<metadata|<style", text)
    assert len(text) < 0.75 * 2 * (len(drawn(NARROW)) + len(drawn(WIDE)))


def test_colours_are_the_pages() -> None:
    text = Drawings().figure(drawn(NARROW), drawn(WIDE), "")
    assert not any(colour in text for colour in LIGHT.colours)
    used = {*re.findall(r"var\((--plot-\d+)\)", text)}
    for theme in (LIGHT, DARK):
        said = dict(re.findall(r"(--plot-\d+): (#\w+);", colours(theme)))
        assert used <= {*said}
        assert tuple(said.values()) == theme.colours
    assert len(set(LIGHT.colours)) == len(LIGHT.colours) == len(DARK.colours)
