"""Library probes: keeps diffusers, transformers and peft from importing what a run does not use.

Each of them looks at its first import whether torchao, bitsandbytes and gguf are installed, and
where they are imports them at once: a second, and lines on the terminal. Here they find none of
them; what a run does use is imported by our own code, which tells diffusers by `reveal`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

OPTIONAL = ("torchao", "bitsandbytes", "gguf")
"""Libraries for weights in fewer bits, of which a run uses one at most."""
# The modules that look, and their functions that keep their first answer.
_PROBES = {
    "diffusers.utils.import_utils": (),
    "transformers.utils.import_utils": (
        "is_torchao_available", "is_bitsandbytes_available", "is_gguf_available",
    ),
    "peft": (),
    "peft.import_utils": (
        "is_bnb_available", "is_bnb_4bit_available", "is_torchao_available",
        "is_torchao_ge_v0_18_0",
    ),
}  # fmt: skip


def keep_unused_out() -> None:
    """Let the libraries find none of `OPTIONAL`, from now on in this process.

    For a process that is this program's own: another program's use of them would suffer.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def reveal(name: str) -> None:
    """Let diffusers find a library of `OPTIONAL` that is about to be used."""
    probe = sys.modules.get("diffusers.utils.import_utils")
    if probe is not None:
        # A flag of its own, read at every question; it has no door for this.
        setattr(probe, f"_{name}_available", True)


class _Finder(MetaPathFinder):
    """Finder of the modules that look, which it has loaded while nothing is to be found."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in _PROBES else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Blindfolded(spec.loader)
        return spec


class _Blindfolded(Loader):
    """Loader that runs a module, and has it ask its questions, with `OPTIONAL` out of sight."""

    def __init__(self, real: Loader) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None, "it is being imported"
        module.__spec__.loader = module.__loader__ = self._real
        with _out_of_sight():
            self._real.exec_module(module)
            for question in _PROBES[module.__name__]:
                ask = getattr(module, question, None)  # names come and go between versions
                if ask is not None:
                    ask()


@contextmanager
def _out_of_sight() -> Iterator[None]:
    hidden = [name for name in OPTIONAL if name not in sys.modules]
    # `importlib.util.find_spec` answers None for a name that stands so in the table.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
