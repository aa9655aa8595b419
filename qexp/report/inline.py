"""Plots as part of a page: SVG that takes its colours and the shapes of its letters from there."""

import html
import re

from qexp.report.canvas import LIGHT, Theme

_GLYPH = re.compile(r'<path id="([^"]+)" d="[^"]*" transform="scale\(0\.015625\)"/>')
_NAMED = re.compile(r'( id="| href="#|url\(#)([^")]+)')
_SPARE = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>|<defs>\s*</defs>", re.DOTALL)


class Drawings:
    """The plots of a page, whose letters are kept once for all of them: most of what a plot is made of."""

    def __init__(self) -> None:
        self._glyphs: dict[str, str] = {}
        self._count = 0

    def figure(self, phone: str, wide: str, alt: str) -> str:
        """Return a plot for phones and for wider pages, each drawn in `LIGHT` as SVG, and what it shows in words."""
        drawn = f'<div class="phone">{self._inline(phone)}</div><div class="wide">{self._inline(wide)}</div>'
        return f'<figure role="img" aria-label="{html.escape(alt)}">{drawn}</figure>'

    def glyphs(self) -> str:
        """Return the letters that the plots refer to."""
        paths = " ".join("".join(self._glyphs.values()).split())
        return f'<svg class="glyphs" width="0" height="0" aria-hidden="true"><defs>{paths}</defs></svg>'

    def _inline(self, drawing: str) -> str:
        self._count += 1
        start = drawing.index(">", drawing.index("<svg")) + 1
        box, text = re.search(r'viewBox="[^"]*"', drawing), drawing[start : drawing.rindex("</svg>")]
        assert box
        text = text.replace("xlink:href", "href")
        found = {glyph[1]: glyph[0] for glyph in _GLYPH.finditer(text)}
        self._glyphs |= found
        text = _SPARE.sub("", _GLYPH.sub("", text))
        text = _NAMED.sub(lambda name: name[0] if name[2] in found else f"{name[1]}d{self._count}-{name[2]}", text)
        places = {colour: f"var(--plot-{number})" for number, colour in enumerate(LIGHT.colours)}
        text = re.sub("|".join(places), lambda colour: places[colour[0]], " ".join(text.split()))
        return f'<svg {box[0]} aria-hidden="true">{text}</svg>'


def colours(theme: Theme) -> str:
    """Return the declarations of a style sheet that give plots a theme's colours."""
    return " ".join(f"--plot-{number}: {colour};" for number, colour in enumerate(theme.colours))
