"""Recognised maps: uses a picture that is a map already as it is, and says so, with a way back."""

from __future__ import annotations

from dataclasses import replace

from pipelines import Studio
from pipelines.preprocessors.recognition import (
    Recognition,
    offered_text,
    recognise,
    recognise_any,
    used_text,
)
from pipelines.request.control import NONE
from ui.control_editor.map_state import MapState

AS_PICTURE = "Treat it as a picture"
AS_MAP = "Use it as it is"


def with_picture(state: MapState, image: str | None, studio: Studio) -> MapState:
    """Give a state a new picture, or none; a map of the state's kind is used as it is."""
    asked = state.like if state.original is not None and state.like else state.preprocessor
    return _recognised(state.remade(image=image, preprocessor=asked), studio)


def with_preprocessor(state: MapState, name: str, studio: Studio) -> MapState:
    """Give a state another preprocessor; who takes up the one that was left out means it."""
    image = state.original or state.image
    made = state.remade(image=image, preprocessor=name, parameters={})
    if state.original is not None and name == state.like:
        return replace(made, resembles=name)
    return _recognised(made, studio)


def other_way(state: MapState, studio: Studio) -> MapState:
    """Treat a map that was used as it is as a picture, or use what looks like a map as it is."""
    if state.original is not None:
        name = state.like or state.preprocessor
        made = state.remade(image=state.original, preprocessor=name, parameters={})
        return replace(made, resembles=name)
    if state.resembles is None or state.image is None:
        return state
    found = recognise(studio.picture(state.image), state.resembles)
    return state if found is None else _used(state, found, studio)


def said_of(state: MapState) -> tuple[str, str]:
    """Say what was recognised, and what the button does about it; two empty texts if nothing."""
    if state.original is not None and state.like is not None:
        return used_text(state.like, state.original != state.image), AS_PICTURE
    return ("", "") if state.resembles is None else (offered_text(state.resembles), AS_MAP)


def _recognised(state: MapState, studio: Studio) -> MapState:
    if state.image is None:
        return state
    picture = studio.picture(state.image)
    if state.preprocessor == NONE:
        known = recognise_any(picture)
        return state if known is None or known.changed else replace(state, like=known.like)
    found = recognise(picture, state.preprocessor)
    if found is not None:
        return _used(state, found, studio)
    other = recognise_any(picture)
    return state if other is None else replace(state, resembles=other.like)


def _used(state: MapState, found: Recognition, studio: Studio) -> MapState:
    map = studio.add_picture(found.map) if found.changed else state.image
    made = state.remade(image=map, preprocessor=NONE, parameters={})
    return replace(made, like=found.like, original=state.image)
