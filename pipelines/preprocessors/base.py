"""Preprocessor rows: parameters, cost and the function that draws a control map.

Nothing heavy is imported here; a row's `detect` imports what it needs when it is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import InvalidRequest, UnknownName

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size
    from pipelines.preprocessors.weights import Weights

Value = int | float | str
Kind = Literal["int", "float", "choice"]
EditedAs = Literal["edge", "depth", "segment", "pose", "view", "guess"]
"""What people may do to a map: paint and erase white lines, shade, colour areas, move joints;
nothing; or what it looks like, where the map was made elsewhere."""
Detect = Callable[["Image", Mapping[str, Any], "Size"], "Image"]
"""From an RGB picture, canonical parameters and the size of the result, to its map, RGB or L.

A map of another size, such as the picture's, is brought to that of the result.
"""
SizedBy = Literal["resolution", "result", "picture"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a preprocessor: its type, range and default.

    Attributes:
        low, high: the range of a number, ends included.
        choices: the values of a choice.
    """

    name: str
    label: str
    kind: Kind
    default: Value
    help: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """Allowed values, as an error says them."""
        if self.kind == "choice":
            return f"it must be one of {', '.join(self.choices)}"
        what = "a whole number" if self.kind == "int" else "a number"
        return f"it must be {what} from {self.low:g} to {self.high:g}"

    def canonical(self, value: object) -> Value:
        """Convert a value to the parameter's own type; text, as from a command line, is read.

        Raises: InvalidRequest: if it is of another kind or out of range.
        """
        if self.kind == "choice":
            if value in self.choices:
                return str(value)
            raise InvalidRequest(f"{self.name} is {value!r}; {self.allowed}")
        number = _number(value)
        whole = number is not None and number.is_integer()
        if (
            number is None
            or not self.low <= number <= self.high
            or not (whole or self.kind != "int")
        ):
            raise InvalidRequest(f"{self.name} is {value!r}; {self.allowed}")
        # Adding 0 turns −0.0 into 0.0: the two are equal, so their JSON must be too.
        return int(number) if self.kind == "int" else number + 0.0


def _number(value: object) -> float | None:
    """A finite number; None for anything else, also for a truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


RESIZE = Parameter(
    "resize",
    "Resize",
    "choice",
    "crop",
    "How the picture meets another shape: crop it, pad the map, or stretch it.",
    choices=("crop", "pad", "stretch"),
)
RESOLUTION = Parameter(
    "resolution",
    "Resolution",
    "int",
    0,
    "Shorter side, in pixels, at which to look; 0 = pixel perfect: as large as the result.",
    low=0,
    high=2048,
)


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """Preprocessor row of the registry, which the page, the command line, docs and tests read.

    Attributes:
        detect: see `Detect`.
        cost: what a map of 512 × 512 costs on a laptop's CPU, in words.
        parameters: its own, before the common ones.
        source: the paper or project it follows.
        background: the map's colour where there is no picture (resize = pad).
        blends: whether colours may mix when the map is resized; labels must not.
        sized_by: at which size it looks: that of the result unless the parameter `resolution`
            says another; always that of the result; or, for networks, which bring a picture to
            their own size, the picture's.
        edited_as: what people may do to its maps.
        nets: what ControlNets for its maps are also called, besides its own name.
        weights: what it cannot run without.
        check: what must hold between its parameters; raises InvalidRequest.
    """

    name: str
    label: str
    help: str
    detect: Detect
    cost: str
    parameters: tuple[Parameter, ...] = ()
    source: str = ""
    background: tuple[int, int, int] = (0, 0, 0)
    blends: bool = True
    sized_by: SizedBy = "resolution"
    edited_as: EditedAs = "view"
    nets: tuple[str, ...] = ()
    weights: Weights | None = None
    check: Callable[[Mapping[str, Any]], None] | None = None

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """List its own parameters and the common ones."""
        common = (RESIZE, RESOLUTION) if self.sized_by == "resolution" else (RESIZE,)
        return (*self.parameters, *common)

    def canonical(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Canonicalise parameters: every one with its value, defaults filled in, in a fixed order.

        Raises: UnknownName, InvalidRequest.
        """
        known = {parameter.name: parameter for parameter in self.all_parameters}
        for name in given:
            if name not in known:
                kind = f"parameter of {self.name}"
                raise UnknownName.of(kind, str(name), known, f"known: {', '.join(known)}")
        values: dict[str, Any] = {
            name: parameter.canonical(given.get(name, parameter.default))
            for name, parameter in known.items()
        }
        resolution = values.get(RESOLUTION.name, 0)
        if 0 < resolution < 64:
            raise InvalidRequest(f"resolution is {resolution}; it must be 0 or 64 to 2048")
        if self.check is not None:
            self.check(values)
        return values
