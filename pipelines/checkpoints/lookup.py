"""Lookup: finds all things of one kind in models folders, and one of them by its name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.checkpoints.formats.tensor_files import refuse_pickle
from pipelines.checkpoints.model_info import Kind, ModelInfo
from pipelines.errors import ContactSheetError, ModelUnavailable, UnknownName, first_line

log = logging.getLogger(__name__)

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
                info = _printable(info)
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


def guarded(
    describe: Callable[[Path], ModelInfo | None], path: Path, name: str, kind: Kind
) -> ModelInfo | None:
    """Describe a file or folder; whatever is odd about it keeps nobody from seeing the others.

    Args:
        name: its id, where it cannot be described.
    """
    try:
        return describe(path)
    except ContactSheetError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or first_line(error)}"
    except Exception as error:  # strangers write these files: one of them must not hide the rest
        log.exception("%s could not be described", path)
        problem = f"{path} cannot be read: {first_line(error)[:200]}"
    return ModelInfo(name, path, "", "", 0, problem, kind, source="")


def named_inside(folder: Path, name: str) -> list[Path]:
    """List what has this name in the folders directly below a folder, in their names' order.

    In a folder that may not be read it may be: whoever opens it says why not.
    """
    found = []
    for entry in entries(folder):
        try:
            (entry / name).lstat()
        except PermissionError:
            pass
        except OSError:
            continue
        found.append(entry / name)
    return found


def entries(folder: Path) -> list[Path]:
    """List what lies directly in a folder, sorted; nothing if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def bytes_of(files: Iterable[Path]) -> int:
    """Count the bytes of files; 0 for links that lead nowhere."""
    total = 0
    for file in files:
        with suppress(OSError):
            total += file.stat().st_size
    return total


def _printable(info: ModelInfo) -> ModelInfo:
    """The same, but refused under a name that can be shown if its own cannot: it is no UTF-8."""
    try:
        str(info.path).encode()
    except UnicodeEncodeError:
        id, path = (str(one).encode("utf-8", "replace").decode() for one in (info.id, info.path))
        problem = f"{path} has a name that is no UTF-8; rename it"
        return replace(info, id=id, path=Path(path), problem=problem)
    return info


def usable(info: ModelInfo) -> ModelInfo:
    """Pass on what was found, if it is whole. Raises: ModelUnavailable: if it has a problem."""
    if info.problem:
        raise ModelUnavailable(info.problem)
    return info
