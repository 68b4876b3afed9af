"""Map editor: shows a picture and its map side by side, with tools to change the map.

The page paints; the server gets the whole map back as a PNG whenever a stroke ends. A pose is
its joints, and its map is drawn from them here.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from pipelines.errors import InvalidRequest
from pipelines.preprocessors import describe
from pipelines.preprocessors.base import EditedAs
from pipelines.preprocessors.skeletons import (
    COLOURS,
    JOINTS,
    LIMBS,
    STANDING,
    Skeleton,
    from_json,
    standing,
)
from pipelines.utils.images import open_picture, png_bytes
from ui.scripts import script

SCRIPTS = ("editor.js", "editor_history.js", "editor_brush.js", "editor_pose.js", "editor_tools.js")
"""The editor's scripts, in the order they need each other."""

PEOPLE_MAX = 16
_PNG = "data:image/png;base64,"
POSE: Mapping[str, Any] = {
    "joints": JOINTS,
    "colours": COLOURS,
    "limbs": LIMBS,
    "figure": STANDING,
}
"""What the page draws people with; `figure` is a person who is added, one who stands, and is
fitted to the map's shape."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Edited map, as the editor gave it back.

    Attributes:
        id: of the map that was edited, as `editor_value` had it.
        picture: the map as the page drew it, RGB.
        skeletons: of the people, for a pose; they count, not the picture.
    """

    id: str
    picture: Image.Image
    skeletons: tuple[Skeleton, ...] | None


def map_editor(*, elem_id: str, empty: str) -> gr.HTML:
    """Build an editor, whose value is what `editor_value` makes; None shows `empty` instead.

    Its event: `edited`, when a stroke or a move has ended; `read_edit` reads its data. Listen to
    it with `trigger_mode="multiple"`, or Gradio drops an edit made while one is on its way. The
    value follows the edits at once: `shown_edit` reads it.
    """
    return gr.HTML(
        value=None,
        elem_id=elem_id,
        # Not as a prop: an update inside a column that was hidden may come without them.
        html_template=f'<div class="cs-editor" data-empty="{escape(empty)}"></div>',
        js_on_load=script(*SCRIPTS),
        apply_default_css=False,
    )


def editor_value(
    id: str,
    kind: EditedAs,
    picture: Image.Image,
    *,
    computed: Image.Image | None = None,
    source: str | None = None,
    fit: str = "stretch",
    skeletons: Sequence[Skeleton] | None = None,
    computed_skeletons: Sequence[Skeleton] | None = None,
    palette: Sequence[tuple[str, str]] = (),
    remark: str = "",
) -> dict[str, Any]:
    """Build the value that the editor shows.

    Args:
        id: comes back with every edit, so that one of an older map is known as such.
        picture: the map.
        computed: the map as it was made, which "Start over" goes back to; the map if None.
        source: address of the picture that the map was made from, shown beside it.
        fit: how that picture met the map's shape: crop, pad or stretch.
        palette: name and `#rrggbb` of the colours that segments may have.
        remark: what is odd about the map as it was made.
    """
    return {
        "id": id,
        "kind": kind,
        "edited": False,
        "map": png_url(picture),
        "computed": None if computed is None else png_url(computed),
        "source": source,
        "fit": fit,
        "skeletons": _drawn(skeletons),
        "computedSkeletons": _drawn(computed_skeletons),
        "pose": {**POSE, "figure": standing(picture.size).joints} if kind == "pose" else None,
        "palette": [{"name": name, "colour": colour} for name, colour in palette],
        "remark": remark,
    }


def read_edit(event: gr.EventData) -> Edit:
    """Read an `edited` event. Raises: InvalidRequest: if no editor could have sent it."""
    return _edit(event._data if isinstance(event._data, dict) else {})


def shown_edit(value: Any) -> Edit | None:
    """Read the edit that an editor shows from its value; None where the map is as it was given.

    An `edited` event is on its way for a moment, the value is there at once.
    Raises: InvalidRequest: if no editor could have it.
    """
    return _edit(value) if isinstance(value, dict) and value.get("edited") else None


def _edit(data: Mapping[str, Any]) -> Edit:
    people = data.get("skeletons")
    return Edit(
        id=str(data.get("id")),
        picture=_picture(data.get("map")),
        skeletons=None if people is None else _people(people),
    )


def png_url(picture: Image.Image) -> str:
    """Encode a picture as a data URI, lossless."""
    return _PNG + base64.b64encode(png_bytes(picture, compress_level=3)).decode()


def guess_kind(picture: Image.Image, like: str | None = None) -> EditedAs:
    """Guess what a ready-made map is: grey is depth, or edges where most of it is black.

    Args:
        like: the preprocessor whose maps it resembles, if that is known. Joints that are drawn
            cannot be dragged: a skeleton is used as it is.
    """
    if like is not None:
        known = describe(like).edited_as
        return "view" if known == "pose" else known
    small = picture.convert("RGB")
    small.thumbnail((256, 256), Image.Resampling.NEAREST)
    pixels = np.asarray(small).reshape(-1, 3).astype(int)
    if (np.ptp(pixels, axis=1) <= 2).all():
        return "edge" if (pixels.max(1) < 16).mean() > 0.5 else "depth"
    return "segment" if len(np.unique(pixels, axis=0)) <= 200 else "view"


def _picture(url: Any) -> Image.Image:
    if not isinstance(url, str) or not url.startswith(_PNG):
        raise InvalidRequest(f"the edited map is {str(url)[:40]!r}; it must be a PNG's data URI")
    try:
        data = base64.b64decode(url.removeprefix(_PNG), validate=True)
    except binascii.Error:
        raise InvalidRequest("the edited map is no base64; edit it again") from None
    return open_picture(data)


def _drawn(people: Sequence[Skeleton] | None) -> list[list[Any]] | None:
    if people is None:
        return None
    return [[person.drawn(joint) for joint in range(len(JOINTS))] for person in people]


def _people(people: Any) -> tuple[Skeleton, ...]:
    if not isinstance(people, list) or len(people) > PEOPLE_MAX:
        raise InvalidRequest(f"skeletons must be a list of at most {PEOPLE_MAX} people")
    # Ours and the store's form differ in one thing: the page sends no joints that are hidden.
    return tuple(from_json(json.dumps([{"joints": person} for person in people])))
