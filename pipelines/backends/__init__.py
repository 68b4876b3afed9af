"""Backends that compute a network, one file each. To add one, write it and a row in `_ROWS`.

Listing and checking them imports none of their libraries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest, UnknownName

if TYPE_CHECKING:
    from pipelines.backends.base import Denoiser

AUTO = "auto"
"""Whichever measures fastest of those that are here."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Backend as a row of the registry.

    Attributes:
        place: module and class of its `Denoiser`.
        library: must be importable.
        install: what brings the library.
        devices: kinds of device it computes on; () = all.
        tried: whether `auto` measures it. One whose first use takes minutes only joins once
            it was asked for by name.
        packed: whether it computes layers whose weights are stored in blocks of bytes.
    """

    id: str
    place: tuple[str, str]
    library: str
    install: str = "pip install -r requirements.txt"
    devices: tuple[str, ...] = ()
    tried: bool = True
    packed: bool = True

    @property
    def installed(self) -> bool:
        return find_spec(self.library) is not None


_ROWS = (
    Backend("torch", ("pipelines.backends.eager", "Eager"), "torch"),
    Backend("compile", ("pipelines.backends.compiled", "Compiled"), "torch", tried=False),
    Backend("blocks", ("pipelines.backends.compiled", "CompiledBlocks"), "torch", tried=False),
    Backend(
        "openvino",
        ("pipelines.backends.openvino", "OpenVino"),
        "openvino",
        "pip install -r requirements-openvino.txt",
        ("cpu",),
        packed=False,
    ),
)
BACKENDS = {row.id: row for row in _ROWS}


def check(name: str) -> None:
    """Raises: UnknownName, InvalidRequest: if there is no such backend, or its library is missing.

    In the second case the message has the command that installs it.
    """
    if name == AUTO:
        return
    known = [*BACKENDS, AUTO]
    if name not in BACKENDS:
        raise UnknownName.of("backend", name, known, f"--backend takes {', '.join(known)}")
    row = BACKENDS[name]
    if not row.installed:
        raise InvalidRequest(
            f"backend {name!r} needs {row.library}, which is not installed; "
            f"{row.install}, or leave --backend out"
        )


def fitting(name: str, device: str) -> list[str]:
    """List the backends a choice stands for on a device; for `auto`, those to measure.

    Raises: InvalidRequest: if the one that is named cannot compute there.
    """
    kind = device.split(":")[0]
    here = [row for row in _ROWS if not row.devices or kind in row.devices]
    if name == AUTO:
        return [row.id for row in here if row.installed]
    if BACKENDS[name] not in here:
        raise InvalidRequest(
            f"backend {name!r} computes on {', '.join(BACKENDS[name].devices)}, not on {device}; "
            f"take {' or '.join(row.id for row in here)}, or --device cpu"
        )
    return [name]


@cache
def denoiser_class(name: str) -> type[Denoiser]:
    """Load the class that computes a network in this way."""
    module, cls = BACKENDS[name].place
    found: type[Denoiser] = getattr(import_module(module), cls)
    return found
