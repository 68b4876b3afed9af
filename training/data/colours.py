"""The eight named backgrounds, and white, which is meant when none is named.

Clothes and solids have the same nine colours.
"""

WHITE = (255, 255, 255)

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "red": (220, 60, 60),
    "orange": (245, 145, 40),
    "yellow": (250, 215, 70),
    "green": (80, 180, 85),
    "blue": (65, 130, 240),
    "purple": (145, 80, 205),
    "pink": (245, 150, 195),
    "black": (20, 20, 20),
}
NAMED: dict[str, tuple[int, int, int]] = {"white": WHITE, **BACKGROUNDS}


def background_rgb(name: str | None) -> tuple[int, int, int]:
    """The colour of a named background; white for None and for "white".

    Raises: KeyError: if the name is not one of the eight.
    """
    return WHITE if name is None or name == "white" else BACKGROUNDS[name]


def nearest_background(rgb: tuple[float, float, float]) -> str:
    """The named background (or "white") closest to a colour, in squared RGB distance."""
    return min(NAMED, key=lambda n: sum((a - b) ** 2 for a, b in zip(rgb, NAMED[n], strict=True)))
