"""Map state: a control's picture, how its map is made, and edits of the map."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from pipelines import ContactSheetError, Control, Studio, preprocessors
from pipelines.preprocessors.palette import ade20k
from pipelines.preprocessors.skeletons import Skeleton, from_json, to_json
from pipelines.request.control import NONE
from ui.control_editor.map_editor import Edit, editor_value, guess_kind
from ui.form.choices import CUSTOM_SIZE, OWN_SIZE

FIRST = "canny"
NO_MODEL_SIZE = (512, 512)
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class MapState:
    """State of one control's map; small, since the browser keeps it.

    Attributes:
        image: hash of the picture, as `Studio.add_picture` returned it; None if there is none.
        like: the preprocessor whose maps a ready-made one resembles, if that is known.
        edited: hash of the map as it was edited; None where it is as it was made.
        skeletons: of an edited pose.
        original: hash of the picture that was recognised as a map, which `image` is since.
        resembles: the preprocessor whose maps a picture looks like that is used as a picture.
    """

    image: str | None = None
    preprocessor: str = FIRST
    parameters: Mapping[str, Any] = field(default_factory=dict)
    like: str | None = None
    edited: str | None = None
    skeletons: tuple[Skeleton, ...] | None = None
    original: str | None = None
    resembles: str | None = None

    @classmethod
    def read(cls, kept: Any, studio: Studio) -> MapState:
        """Read the state as the page or a browser kept it, field by field.

        A field of no use is as in a fresh state. Edits go with the picture or the preprocessor of
        the map that was edited; an edited map and its skeletons go together.
        """
        if not isinstance(kept, dict):
            return cls()
        image, name = _picture(kept.get("image"), studio), kept.get("preprocessor")
        known = name in preprocessors.names()
        read = cls(
            image=image,
            preprocessor=str(name) if known else FIRST,
            parameters=_parameters(str(name), kept.get("parameters")) if known else {},
        )
        if not known or image != kept.get("image"):
            return read
        like = kept.get("like")
        edited, people = _picture(kept.get("edited"), studio), _people(kept.get("skeletons"))
        if edited is None or (people is None and kept.get("skeletons") is not None):
            edited = people = None
        resembles = kept.get("resembles")
        return replace(
            read,
            like=like if like in preprocessors.names() else None,
            edited=edited,
            skeletons=people,
            original=_picture(kept.get("original"), studio),
            resembles=resembles if resembles in preprocessors.names() else None,
        )

    def kept(self) -> dict[str, Any]:
        """Write the state as JSON, for `read`."""
        people = None if self.skeletons is None else json.loads(to_json(self.skeletons))
        return {
            "image": self.image,
            "preprocessor": self.preprocessor,
            "parameters": dict(self.parameters),
            "like": self.like,
            "edited": self.edited,
            "skeletons": people,
            "original": self.original,
            "resembles": self.resembles,
        }

    def remade(self, **changes: Any) -> MapState:
        """Change picture, preprocessor or parameters; edits of the old map are gone."""
        new = dict.fromkeys(("like", "edited", "skeletons", "original", "resembles"))
        return replace(self, **{**new, **changes})

    @property
    def source(self) -> dict[str, Any]:
        """Fields of a Control that decide its map."""
        if self.edited is not None:
            return {"image": self.edited, "preprocessor": NONE, "parameters": {"resize": "stretch"}}
        return {
            "image": self.image,
            "preprocessor": self.preprocessor,
            "parameters": dict(self.parameters),
        }

    @classmethod
    def of(cls, control: Control, studio: Studio) -> MapState:
        """Find the state whose map is a control's; of an edited map, the state it was edited in."""
        if control.preprocessor == NONE:
            try:
                kept = json.loads(studio.annotation(control.image) or "null")
            except ValueError:
                kept = None
            state = cls.read(kept, studio)
            if state.edited == control.image:
                return state
        return cls(control.image, control.preprocessor, dict(control.parameters))

    def id(self, size: Size) -> str:
        """Name the map as it was made; edits of it carry this name."""
        parameters = preprocessors.check_parameters(self.preprocessor, self.parameters)
        made = [self.image, self.preprocessor, parameters, size]
        return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def _picture(name: Any, studio: Studio) -> str | None:
    """The hash of a picture that is here; None for anything else."""
    if not isinstance(name, str):
        return None
    try:
        studio.picture(name)
    except ContactSheetError:
        return None
    return name


def _people(kept: Any) -> tuple[Skeleton, ...] | None:
    try:
        return None if kept is None else tuple(from_json(json.dumps(kept)))
    except ContactSheetError:
        return None


def _parameters(preprocessor: str, kept: Any) -> dict[str, Any]:
    """Canonical parameters: all that were kept, or those of them that are good on their own."""
    given = kept if isinstance(kept, dict) else {}
    with suppress(ContactSheetError):
        return preprocessors.check_parameters(preprocessor, given)
    found = preprocessors.check_parameters(preprocessor, {})
    for name, value in given.items():
        with suppress(ContactSheetError):
            found = preprocessors.check_parameters(preprocessor, {**found, name: value})
    return found


def with_edit(state: MapState, edit: Edit, size: Size, studio: Studio) -> MapState:
    """Apply an edit to a state; an edit of another map changes nothing."""
    if edit.id != state.id(size):
        return state
    if edit.skeletons is not None:
        return with_people(state, edit.skeletons, size, studio)
    return _noted(replace(state, edited=studio.add_picture(edit.picture)), studio)


def with_people(
    state: MapState, people: tuple[Skeleton, ...], size: Size, studio: Studio
) -> MapState:
    """Draw people as a state's edited map."""
    edited = studio.add_picture(preprocessors.draw_skeletons(people, size))
    return _noted(replace(state, edited=edited, skeletons=people), studio)


def _noted(state: MapState, studio: Studio) -> MapState:
    """The state, kept beside its edited map: a run has the map alone, and may be edited again."""
    assert state.edited is not None
    studio.annotate(state.edited, json.dumps(state.kept()))
    return state


def editor_shows(state: MapState, size: Size, studio: Studio) -> dict[str, Any] | None:
    """Make the map, as the value of the map editor; None without a picture.

    Raises: ContactSheetError: if the map cannot be made, saying why.
    """
    if state.image is None:
        return None
    row = preprocessors.describe(state.preprocessor)
    source = studio.picture(state.image)
    people = None
    if row.edited_as == "pose":
        # Where nobody can be found, people can still be placed by hand.
        there = preprocessors.available(row.name)
        people = preprocessors.find_people(source, state.parameters, size) if there else ()
        made = preprocessors.draw_skeletons(people, size)
    else:
        made = preprocessors.run(state.preprocessor, source, state.parameters, size)
    kind = guess_kind(made, state.like) if row.edited_as == "guess" else row.edited_as
    return editor_value(
        state.id(size),
        kind,
        made if state.edited is None else map_of(state, size, studio),
        computed=made,
        source=source_url(state.image),
        fit=str(preprocessors.check_parameters(state.preprocessor, state.parameters)["resize"]),
        skeletons=people if state.skeletons is None else state.skeletons,
        computed_skeletons=people,
        palette=_palette() if state.preprocessor == "segmentation" else (),
        remark=preprocessors.remark(row.name, made) if preprocessors.available(row.name) else "",
    )


def map_of(state: MapState, size: Size, studio: Studio) -> Image.Image:
    """Make the map that a state's control will have. Raises: ContactSheetError: if it cannot be."""
    source = state.source
    picture = studio.picture(str(source["image"]))
    return preprocessors.run(source["preprocessor"], picture, source["parameters"], size)


def map_size(studio: Studio, fields: Mapping[str, Any]) -> Size:
    """Read width and height of maps, which are those of the picture that the form asks for.

    A size that is being typed, or a model that is not there, is no reason to make no map.
    """
    size = str(fields["size"])
    width, height = fields["width"], fields["height"]
    if size != CUSTOM_SIZE:
        width, _, height = ("", "", "") if size == OWN_SIZE else size.partition("x")
    try:
        if width and height:
            return int(width), int(height)
        return studio.native_size(str(fields["model"]))
    except (ValueError, ContactSheetError):
        return NO_MODEL_SIZE


def source_url(image: str) -> str:
    """Build the address of a picture that was added, relative to the page."""
    return f"sources/{image}.png"


def _palette() -> list[tuple[str, str]]:
    return [(entry.name, "#" + bytes(entry.colour).hex()) for entry in ade20k()]
