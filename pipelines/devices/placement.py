"""Placement policy: which component stays on the device, and which waits in main memory.

Arithmetic on bytes and names, so that it is tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.devices.hardware import Hardware
from pipelines.errors import OutOfMemory

Offload = Literal["auto", "none", "model", "group"]
Home = Literal["device", "model", "group"]
_GIB = 2**30


def reserve(hardware: Hardware) -> int:
    """Bytes that components leave to their work: activations, kernels, the desktop.

    A fifth of a GPU, half of the memory that the rest of the machine needs as well.
    """
    return hardware.total // 5 if hardware.apart else hardware.total // 2


def default_budget(hardware: Hardware) -> int:
    """Bytes that components may take together."""
    return max(0, hardware.total - hardware.taken - reserve(hardware))


@dataclass(frozen=True, slots=True)
class Weights:
    """What a component takes.

    Attributes:
        bytes: of all its tensors.
        largest: of its largest layer; that much must fit whatever is done.
        movable: whether it can wait in main memory; ControlNets, which are called in parts,
            and LoRAs cannot.
        layered: whether its layers can come one by one; the scales of 4-bit layers stay behind
            when diffusers moves them.
    """

    bytes: int
    largest: int = 0
    movable: bool = True
    layered: bool = True


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model's components live.

    Attributes:
        homes: component to `device` (it stays there), `model` (it waits in main memory and comes
            to the device as a whole when it is called) or `group` (its layers come one by one).
        room: bytes of the device for those that come and go.
    """

    homes: Mapping[str, Home]
    room: int = 0

    @property
    def offloads(self) -> bool:
        return any(home != "device" for home in self.homes.values())


def place(
    weights: Mapping[str, Weights], budget: int, hardware: Hardware, asked: Offload = "auto"
) -> Placement:
    """Where components live so that a device of this budget can compute with all of them.

    The fastest way that fits: all on the device; else each there while it is called; else, for
    those that are too large by themselves, layer by layer. Only a GPU's memory is worth moving
    out of; elsewhere nothing moves unless asked.

    Raises: OutOfMemory: if the largest layer is too large, or a component that cannot come by
        layers. What `none` or `model` asks for and does not fit is found out by whoever loads it.
    """
    whole = sum(one.bytes for one in weights.values())
    if asked == "none" or (asked == "auto" and (whole <= budget or not hardware.apart)):
        return Placement(dict.fromkeys(weights, "device"))
    moving = {name: one for name, one in weights.items() if one.movable and one.bytes}
    left = budget - sum(one.bytes for name, one in weights.items() if name not in moving)
    homes: dict[str, Home] = dict.fromkeys(weights, "device")
    grouped = 0
    # A layer is fetched while the one before it computes, so two are there at once.
    for name, one in moving.items():
        if one.layered and (asked == "group" or (asked == "auto" and one.bytes > left)):
            homes[name] = "group"
            grouped = max(grouped, 2 * one.largest)
    visiting = {name: one.bytes for name, one in moving.items() if homes[name] == "device"}
    for name in visiting:
        # Beside what comes by layers there is less room for those that come as a whole.
        fits = asked == "model" or visiting[name] + grouped <= left
        if not fits and not moving[name].layered and hardware.apart:
            raise OutOfMemory(
                f"{name} needs {(visiting[name] + grouped) / 1e6:.0f} MB of the device while it "
                f"computes, and in 4 bits it cannot come by layers; {max(0, left) / 1e6:.0f} MB "
                f"are left for it; take --quantize int8, or raise the budget with --memory"
            )
        homes[name] = "model" if fits or not moving[name].layered else "group"
    grouped = max((2 * moving[n].largest for n in moving if homes[n] == "group"), default=0)
    if grouped > left and hardware.apart:
        raise OutOfMemory(
            f"its largest layers need {grouped / 1e6:.0f} MB at once; {max(0, left) / 1e6:.0f} MB "
            f"of the budget of {budget / 1e6:.0f} MB are left for them; raise it with --memory"
        )
    visitors = [one for name, one in visiting.items() if homes[name] == "model"]
    # All of them if they fit side by side, at least the largest: none goes before it must.
    whole_room = min(sum(visitors), max(max(visitors, default=0), left - grouped))
    return Placement(homes, grouped + whole_room)


def leaving(present: Mapping[str, int], needed: int, room: int) -> list[str]:
    """What must leave, the longest unused first, so that `needed` bytes come in.

    Args:
        present: name to bytes of what is in the room, the longest unused first.
    """
    gone: list[str] = []
    free = room - sum(present.values())
    for name, size in present.items():
        if free >= needed:
            break
        gone.append(name)
        free += size
    return gone
