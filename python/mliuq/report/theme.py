"""Colours: sentinels that matplotlib draws with, and what they become on a light page, a dark page and paper."""

from __future__ import annotations

import io
import re
from typing import Any

from matplotlib import rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

# Unlikely colours standing for roles.
INK, MUTED, GRID, BAND = "#010203", "#040506", "#070809", "#0a0b0c"
CALIBRATED, RAW = "#0d0e0f", "#101112"

#: role -> (name of the CSS variable, light, dark). Series colours keep their hue; both pass 3:1 against their page.
PALETTE = {
    INK: ("--ink", "#1c2126", "#e8eaed"),
    MUTED: ("--muted", "#68717a", "#9aa4ae"),
    GRID: ("--grid", "#e3e6e9", "#31373d"),
    BAND: ("--band", "#c9ced3", "#4a5259"),
    CALIBRATED: ("--calibrated", "#1f6fb4", "#5aa9e6"),
    RAW: ("--raw", "#c4551b", "#f0915a"),
}


def css_variables(dark: bool) -> str:
    """Declarations of the colour variables for one theme."""
    return " ".join(f"{name}: {night if dark else day};" for name, day, night in PALETTE.values())


def to_inline_svg(figure: Figure, title: str, prefix: str) -> str:
    """The figure as an SVG element whose colours follow the page.

    Ids begin with `prefix`, for they must be unique on a page. Bitmaps are drawn in the light theme's colours,
    readable on both.
    """
    text = _svg(figure)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r'\1 width="100%"', text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*" viewBox', r"\1 viewBox", text, count=1)
    text = re.sub(r"(<svg[^>]*)>", rf'\1 role="img" aria-label="{title}">', text, count=1)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{prefix}-\1"', text)
    for sentinel, (name, _, _) in PALETTE.items():
        text = text.replace(sentinel, f"var({name})")
    return text


def to_svg_file(figure: Figure) -> str:
    """The figure as a stand-alone SVG file in the light theme's colours."""
    text = _svg(figure)
    for sentinel, (_, day, _) in PALETTE.items():
        text = text.replace(sentinel, day)
    return text


def _svg(figure: Figure) -> str:
    """SVG text; artists that become bitmaps are recoloured first, for a bitmap cannot follow a variable."""
    for artist in figure.findobj(lambda artist: bool(artist.get_rasterized())):
        for owner in (artist, *getattr(artist, "get_children", list)()):
            _fix_colour(owner)
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "mliuq"}):  # ids of clips and markers are random without
        figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None})
    return buffer.getvalue()


def _fix_colour(artist: Any) -> None:
    get = getattr(artist, "get_color", None)
    if get is None:
        return
    colour = get()
    first = colour if isinstance(colour, str) else colour[0]
    role = PALETTE.get(to_hex(first))
    if role is not None:
        artist.set_color(role[1])
