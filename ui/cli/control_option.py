"""Control option: reads `--control FILE:PREPROCESSOR:name=value,…` on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import Axis, Control, InvalidRequest, Request, Studio
from pipelines.rendering.control_treatment import (
    TREATMENTS,
    check_treatment,
    remark_on,
    treat,
)
from pipelines.request.control import NONE
from pipelines.request.field_labels import FIELD_LABELS
from pipelines.request.item_axes import item_field
from pipelines.utils.images import content_hash, open_picture
from pipelines.utils.value_list import split

if TYPE_CHECKING:
    from PIL.Image import Image

ControlTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--control",
        help=FIELD_LABELS["controls"].help,
    ),
]
# The picture's name may hold colons: what follows it starts at the first that can.
_CONTROL = re.compile(r"^(?P<file>.+?)(?::(?P<name>[A-Za-z0-9_-]*)(?::(?P<rest>.*))?)?$", re.DOTALL)
_FIELDS = ("model", "strength", "start", "stop", "mode", "treat_as")


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """Controls of a command line, with their pictures read.

    Attributes:
        pictures: of the controls and of axes over them.
        treatments: what each control's picture is said to be.
    """

    controls: tuple[Control, ...]
    axes: tuple[Axis, ...]
    pictures: tuple[Image, ...]
    treatments: tuple[str, ...] = ()

    def add_to(self, request: Request) -> Request:
        """Add these controls to a Request."""
        return request.replace(controls=self.controls) if self.controls else request

    def add_pictures(self, studio: Studio) -> None:
        """Add the pictures to a studio, where its runs find them."""
        for picture in self.pictures:
            studio.add_picture(picture)

    def treated(self, studio: Studio, request: Request) -> ControlOptions:
        """Use pictures that are maps already as they are, and say so, a line each, on stderr.

        Axes over controls or models leave open what a control is: then nothing is changed.
        """
        if any("control" in axis.field or axis.field == "model" for axis in self._all_axes()):
            return self
        by_hash = {content_hash(picture): picture for picture in self.pictures}
        size = request.width, request.height
        width, height = (
            own or usual for own, usual in zip(size, studio.native_size(request.model), strict=True)
        )
        nets = studio.controlnets(request.model) if self.controls else ()
        controls, pictures = [], list(self.pictures)
        for one, treat_as in zip(self.controls, self.treatments, strict=True):
            found = treat(one, by_hash[one.image], treat_as, nets, request.model)
            if found.control.image not in by_hash:
                studio.add_picture(found.picture)
                pictures.append(found.picture)
            odd = remark_on(found.control, lambda it: studio.control_map(it, width, height))
            for note in (found.note, odd):
                if note:
                    typer.echo(f"note: {note}", err=True)
            controls.append(found.control)
        return replace(self, controls=tuple(controls), pictures=tuple(pictures))

    def _all_axes(self) -> list[Axis]:
        return [one for axis in self.axes for one in (axis, *axis.zipped)]


def read_controls(texts: Sequence[str] | None, axes: Sequence[Axis] = ()) -> ControlOptions:
    """Read controls; axes over control pictures name files, as controls do.

    Raises: InvalidRequest, UnknownName: saying what is wrong with which option.
    """
    pictures: dict[str, Image] = {}

    def picture(file: str) -> str:
        image = open_picture(Path(file))
        name = content_hash(image)
        pictures[name] = image
        return name

    def with_pictures(axis: Axis) -> Axis:
        found = item_field(axis.field)
        of_pictures = found is not None and (found.row.item, found.name) == (Control, "image")
        return Axis(
            field=axis.field,
            values=tuple(picture(str(value)) for value in axis.values)
            if of_pictures
            else axis.values,
            zipped=tuple(map(with_pictures, axis.zipped)),
        )

    controls, treatments = [], []
    for text in texts or ():
        file, fields = parse_control(text)
        treatments.append(check_treatment(fields.pop("treat_as", TREATMENTS[0])))
        controls.append(Control(image=picture(file), **fields))
    placed = tuple(map(with_pictures, axes))
    return ControlOptions(tuple(controls), placed, tuple(pictures.values()), tuple(treatments))


def parse_control(text: str) -> tuple[str, dict[str, Any]]:
    """Parse the file and the fields of one `--control`; other names are preprocessor parameters.

    Raises: InvalidRequest: if it is not written as it should be.
    """
    match = _CONTROL.match(text)
    if match is None:
        raise InvalidRequest(f"control {text!r} names no picture; write image.png:canny")
    fields: dict[str, Any] = {"preprocessor": match["name"] or NONE}
    parameters: dict[str, Any] = {}
    for entry in split(match["rest"] or ""):
        name, equals, value = entry.partition("=")
        name = name.strip().lower().replace("-", "_")
        if not equals or not name or not value.strip():
            raise InvalidRequest(
                f"control {text!r}: {entry!r} is no setting; write name=value, such as strength=0.8"
            )
        into = fields if name in _FIELDS else parameters
        if name in into:
            raise InvalidRequest(f"control {text!r} gives {name} twice; give it once")
        into[name] = (
            value.strip() if name in ("model", "mode", "treat_as") else _plain(value.strip())
        )
    return match["file"], {**fields, "parameters": parameters}


def _plain(value: str) -> bool | int | float | str:
    """A value as a number, true or false where it looks like one."""
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
