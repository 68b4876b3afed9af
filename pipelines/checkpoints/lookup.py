"""Lookup: finds all things of one kind in models folders, and one of them by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.checkpoints.formats.tensor_files import refuse_pickle
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.errors import ModelUnavailable, UnknownName

_WHERE = "python app.py models lists them"


@dataclass(frozen=True, slots=True)
class Lookup:
    """Lookup of one kind of thing: finds models, or ControlNets, or LoRAs.

    Attributes:
        what: the kind, for messages.
        inside: describes what lies directly below some folders, in the order in which it counts;
            None for what turns out to be of another kind.
        at: describes what lies at a path, beside those folders; None if it is nothing of the kind.
    """

    what: str
    inside: Callable[[Sequence[Path]], Iterable[ModelInfo | None]]
    at: Callable[[Path, Sequence[Path]], ModelInfo | None]

    def find(self, folders: Sequence[Path]) -> list[ModelInfo]:
        """Find all of them in some folders, by id; of equal ids the first wins."""
        found: dict[str, ModelInfo] = {}
        for info in self.inside(folders):
            if info is not None:
                found.setdefault(info.id, info)
        return [found[id] for id in sorted(found)]

    def locate(self, name: str, folders: Sequence[Path], by_path: bool = True) -> ModelInfo:
        """Locate the one of this id, or at this path.

        Args:
            by_path: whether a name may be a path, also to what does not lie in the folders.
        Raises:
            UnknownName: if there is none, with the closest id.
            ModelUnavailable: if it is a pickle, or has a problem.
        """
        path = Path(name)
        refuse_pickle(path)
        infos = {info.id: info for info in self.find(folders)}
        info = infos.get(name) or (self.at(path, folders) if by_path else None)
        if info is None:
            raise UnknownName.of(self.what, name, infos, _WHERE)
        return usable(info)


def usable(info: ModelInfo) -> ModelInfo:
    """Pass on what was found, if it is whole. Raises: ModelUnavailable: if it has a problem."""
    if info.problem:
        raise ModelUnavailable(info.problem)
    return info
