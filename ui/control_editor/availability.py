"""ControlNet availability: finds which ControlNets fit a model and its maps, and says so."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from pipelines import ContactSheetError, InvalidRequest, Studio, preprocessors
from pipelines.checkpoints import controlnets
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.preprocessors.base import EditedAs
from pipelines.request.control import MODES, NONE
from ui.control_editor.map_state import MapState, Size

ANY_MODEL = ""
"""The menu's value that leaves the choice of a ControlNet to the studio."""


@dataclass(frozen=True, slots=True)
class Offer:
    """ControlNets and modes that are available for a model.

    Attributes:
        nets: the ControlNets here that fit it.
        modes: those that they know; all of them where the model is not known.
    """

    model: str
    nets: tuple[ModelInfo, ...] = ()
    modes: tuple[str, ...] = MODES

    @classmethod
    def of(cls, studio: Studio, model: str) -> Offer:
        """Find what is available for a model; nothing for one that cannot be used."""
        try:
            return cls(model, tuple(studio.controlnets(model)), studio.control_modes(model))
        except ContactSheetError:
            return cls(model)

    @property
    def ids(self) -> list[str]:
        return [net.id for net in self.nets]

    def follows(self, preprocessor: str) -> bool:
        """Whether some ControlNet says that it is for a preprocessor's maps."""
        return bool(controlnets.named(preprocessor, self.nets))


def followed_by(offer: Offer, state: MapState, chosen: str, size: Size, studio: Studio) -> str:
    """Say which ControlNet will follow a map and how the map is resized; "" if neither matters.

    Args:
        chosen: the ControlNet that the form names, or ANY_MODEL.
    """
    if state.image is None:
        return ""
    said = [_follower(offer, state, chosen), _meets(state, size, studio)]
    return " ".join(one for one in said if one)


def _follower(offer: Offer, state: MapState, chosen: str) -> str:
    if not offer.nets:
        return ""  # the tab says so, once for all maps
    kind = state.like or state.preprocessor
    label = preprocessors.describe(kind).label
    named, ids = controlnets.named(kind, offer.nets), offer.ids
    if chosen:
        return f"{chosen} follows this map."
    if len(named) == 1:
        return f"{named[0]} follows this map."
    where = "choose one under “How it acts”"
    if named:
        return f"Several ControlNets follow such maps; {where}: {', '.join(named)}."
    if kind == NONE:
        asks = f"What kind of map this is, is not known; {where}: {', '.join(ids)}."
        return asks if len(ids) > 1 else f"{ids[0]} follows this map: no other is here."
    rest = f"No ControlNet here for {offer.model} is known to follow this kind of map ({label})."
    if len(ids) == 1:
        return f"{rest} {ids[0]} will, since no other is here."
    return f"{rest} Take another kind, or {where}: {', '.join(ids)}."


def _meets(state: MapState, size: Size, studio: Studio) -> str:
    """Say how a ready-made map of another size is resized to the picture's."""
    if state.preprocessor != NONE or state.image is None or state.edited is not None:
        return ""
    picture = studio.picture(state.image)
    if picture.size == size:
        return ""
    how = preprocessors.check_parameters(NONE, state.parameters)["resize"]
    same = picture.width * size[1] == picture.height * size[0]
    done = "scaled" if same else {"crop": "cropped", "pad": "padded"}.get(how, "stretched")
    return (
        f"This map has {picture.width} × {picture.height} pixels, the picture "
        f"{size[0]} × {size[1]}: it is {done}."
    )


def missing_text(offer: Offer) -> str:
    """Say what to do about a model that has no ControlNet here, as markup."""
    if not offer.modes:
        return (
            f"No ControlNet can steer {escape(offer.model)}: its family takes none. Maps can be "
            "made and edited, not followed; choose another model to generate."
        )
    return (
        f"No ControlNet for {escape(offer.model)} is here, so nothing can be generated with these "
        "maps yet; they can be made and edited. Put the folder of one (config.json and a "
        ".safetensors file) into the models folder and reload this page. For SD 1.5: <code>hf "
        "download lllyasviel/control_v11p_sd15_canny --local-dir models/control_v11p_sd15_canny"
        "</code>"
    )


def empty_map(number: int, edited_as: EditedAs) -> InvalidRequest:
    """Build the error for a map that has no line, joint or depth in it."""
    draw = {
        "pose": "add a person (Start with a standing figure)",
        "depth": "lighten what is near",
    }.get(edited_as, "draw an edge")
    return InvalidRequest(
        f"map {number} is empty (all black), so it asks for nothing; {draw}, take "
        "another picture, or switch the control off"
    )
