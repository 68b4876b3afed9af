"""ControlNet catalog: finds ControlNets on disk, and tells which of them fit a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.checkpoints.diffusers_folder import read_json, weight_files
from pipelines.checkpoints.formats.tensor_files import is_file, read_header
from pipelines.checkpoints.lookup import Lookup, bytes_of, guarded, named_inside
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.controlnet.adapter import controls_of
from pipelines.errors import ContactSheetError, InvalidRequest, ModelUnavailable
from pipelines.families import FamilySpec
from pipelines.families.capabilities import Configs
from pipelines.preprocessors import describe

_SUFFIX = "ControlNetModel"


def find(folders: Sequence[Path]) -> list[ModelInfo]:
    """Find every ControlNet directly below `folders`, by id; the first of equal ids wins.

    A folder is one if its config.json names a class that ends in ControlNetModel.
    """
    return _CONTROLNETS.find(folders)


def locate(name: str, folders: Sequence[Path], by_path: bool = True) -> ModelInfo:
    """Locate the ControlNet of this id, or at this path.

    Raises:
        UnknownName: if there is none, with the closest id.
        ModelUnavailable: if it is a pickle, a single file or broken.
    """
    return _CONTROLNETS.locate(name, folders, by_path)


def _inside(folders: Sequence[Path]) -> Iterator[ModelInfo | None]:
    for folder in folders:
        for config in named_inside(folder, "config.json"):
            if not is_file(config.with_name("model_index.json")):
                yield guarded(_describe, config.parent, config.parent.name, "controlnet")


def _at(path: Path, _: Sequence[Path]) -> ModelInfo | None:
    if path.suffix.lower() == ".safetensors" and is_file(path):
        read_header(path)  # says why, if it is damaged
        raise ModelUnavailable(
            f"{path} is a single file; ControlNets are read from folders alone: give its folder in "
            "diffusers' layout (with its config.json)"
        )
    return _describe(path) if is_file(path / "config.json") else None


_CONTROLNETS = Lookup("ControlNet", _inside, _at)


def fitting(infos: Sequence[ModelInfo], family: FamilySpec, configs: Configs) -> list[ModelInfo]:
    """Select the ControlNets that can steer a model of this family with these configs."""
    return [info for info in infos if not info.problem and misfit(info, family, configs) is None]


def misfit(info: ModelInfo, family: FamilySpec, configs: Configs) -> str | None:
    """Explain why a ControlNet cannot steer a model, as a sentence's end; None if it can.

    Raises: ModelUnavailable: if a config is broken.
    """
    controls = controls_of(family)
    if controls is None:
        return f"no ControlNet can steer {family.id} models yet"
    if info.pipeline not in controls.classes:
        return f"it is a {info.pipeline}, {family.id} models take {', '.join(controls.classes)}"
    try:
        return controls.misfit(configs, read_json(info.path / "config.json"))
    except (KeyError, TypeError) as error:
        raise ModelUnavailable(f"{info.path}: the config lacks {error}") from None


def check_fits(
    info: ModelInfo,
    model: str,
    family: FamilySpec,
    configs: Configs,
    folders: Sequence[Path],
) -> None:
    """Refuse a ControlNet that cannot steer a model.

    Raises: InvalidRequest: with those that can.
    """
    why = misfit(info, family, configs)
    if why is not None:
        fit = ", ".join(other.id for other in fitting(find(folders), family, configs))
        raise InvalidRequest(
            f"ControlNet {info.id!r} does not fit {model!r}: {why}; these here fit: {fit or 'none'}"
        )


def modes(family: FamilySpec) -> tuple[str, ...]:
    """List the control modes that ControlNets of a family know; () where none can steer it."""
    controls = controls_of(family)
    return () if controls is None else controls.modes


def check_mode(info: ModelInfo, mode: str, family: FamilySpec) -> None:
    """Refuse a control's mode that ControlNets of a family do not know. Raises: InvalidRequest."""
    known = modes(family)
    if mode not in known:
        raise InvalidRequest(
            f"control mode is {mode!r}; ControlNet {info.id!r} is a {info.pipeline}, which knows "
            f"{', '.join(known)} alone"
        )


def named(preprocessor: str, fit: Sequence[ModelInfo]) -> list[str]:
    """List the ids of ControlNets that are named after a preprocessor or its other names."""
    words = (preprocessor, *describe(preprocessor).nets)
    return [info.id for info in fit if any(word in info.id for word in words)]


def choose(preprocessor: str, model: str, fit: Sequence[ModelInfo]) -> str:
    """Choose the ControlNet for a preprocessor's maps: the one that is `named`, or the only one.

    Raises: InvalidRequest: if that does not leave one.
    """
    ids = named(preprocessor, fit) or [info.id for info in fit]
    if len(ids) != 1:
        there = ", ".join(ids) or "none is here"
        raise InvalidRequest(
            f"which ControlNet steers {model!r} by {preprocessor!r} maps is not said; "
            f"name one with model=… ({there})"
        )
    return ids[0]


def _describe(folder: Path) -> ModelInfo | None:
    """What is known of a folder; None if it is no ControlNet's."""
    try:
        cls = str(read_json(folder / "config.json").get("_class_name", ""))
    except ContactSheetError:
        return None  # nobody knows what it would have been
    if not cls.endswith(_SUFFIX):
        return None
    size = bytes_of(folder.glob("*.safetensors"))
    problem = None
    try:
        weight_files(folder.parent, folder.name)
    except ContactSheetError as error:
        problem = str(error)
    return ModelInfo(folder.name, folder, cls, "", size, problem, "controlnet")
