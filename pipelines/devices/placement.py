"""Placement policy: which component stays on the device, and which waits in main memory.

Arithmetic on bytes and names, so that it is tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.devices.hardware import Hardware
from pipelines.errors import OutOfMemory

Offload = Literal["auto", "none", "model", "group"]
Home = Literal["device", "model", "group"]


def reserve(hardware: Hardware) -> int:
    """Compute the bytes that components leave to their work: activations, kernels, the desktop.

    A fifth of a GPU, half of the memory that the rest of the machine needs as well.
    """
    return hardware.total // 5 if hardware.has_own_memory else hardware.total // 2


def default_budget(hardware: Hardware) -> int:
    """Compute the bytes that components may take together."""
    return max(0, hardware.total - hardware.taken - reserve(hardware))


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a component, as far as their place goes.

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
    """Placement: says where each of a model's components lives.

    Attributes:
        homes: component to `device` (it stays there), `model` (it waits in main memory and comes
            to the device as a whole when it is called) or `group` (its layers come one by one).
        room: bytes of the device for those that come and go.
    """

    homes: Mapping[str, Home]
    room: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """Room: counts the device's memory for components that move.

    Attributes:
        left: bytes beside those components that stay.
        layers: of them, what layers take that come one by one.
    """

    left: int
    layers: int = 0

    def with_layers_of(self, weights: Iterable[Weights]) -> Room:
        """Set room aside in which the layers of these come one by one.

        A layer is fetched while the one before it computes, so two are there at once.
        """
        return Room(self.left, max((2 * one.largest for one in weights), default=0))

    def for_whole(self, weights: Iterable[Weights]) -> int:
        """Compute the bytes for these, which come as a whole.

        All of them if they fit side by side, at least the largest: none goes before it must.
        """
        sizes = [one.bytes for one in weights]
        return min(sum(sizes), max(max(sizes, default=0), self.left - self.layers))


def place(
    weights: Mapping[str, Weights], budget: int, hardware: Hardware, asked: Offload = "auto"
) -> Placement:
    """Place components so that a device of this budget can compute with all of them.

    The fastest way that fits: all on the device; else each there while it is called; else, for
    those that are too large by themselves, layer by layer. Only a GPU's memory is worth moving
    out of; elsewhere nothing moves unless asked.

    Raises: OutOfMemory: if the largest layer is too large, or a component that cannot come by
        layers. What `none` or `model` asks for and does not fit is found out by whoever loads it.
    """
    whole = sum(one.bytes for one in weights.values())
    if asked == "none" or (asked == "auto" and (whole <= budget or not hardware.has_own_memory)):
        return Placement(dict.fromkeys(weights, "device"))
    moving = {name: one for name, one in weights.items() if one.movable and one.bytes}
    room = Room(budget - sum(one.bytes for name, one in weights.items() if name not in moving))
    groups = _too_large(moving, room, asked)
    room = room.with_layers_of(groups.values())
    rest = {name: one for name, one in moving.items() if name not in groups}
    models = _fitting(rest, room, asked, hardware)
    # Beside what comes by layers there is less room: more may have to come by layers.
    groups = {name: one for name, one in moving.items() if name not in models}
    room = room.with_layers_of(groups.values())
    if room.layers > room.left and hardware.has_own_memory:
        raise OutOfMemory(
            f"its largest layers need {room.layers / 1e6:.0f} MB at once; "
            f"{max(0, room.left) / 1e6:.0f} MB of the budget of {budget / 1e6:.0f} MB are left "
            "for them; raise it with --memory"
        )
    homes: dict[str, Home] = dict.fromkeys(weights, "device")
    homes.update(dict.fromkeys(models, "model"))
    homes.update(dict.fromkeys(groups, "group"))
    return Placement(homes, room.layers + room.for_whole(models.values()))


def _too_large(moving: Mapping[str, Weights], room: Room, asked: Offload) -> dict[str, Weights]:
    """Those that come by layers whatever the others do: too large alone, or asked to."""
    return {
        name: one
        for name, one in moving.items()
        if one.layered and (asked == "group" or (asked == "auto" and one.bytes > room.left))
    }


def _fitting(
    moving: Mapping[str, Weights], room: Room, asked: Offload, hardware: Hardware
) -> dict[str, Weights]:
    """Those that come as a whole, because they fit, were asked to, or cannot come by layers.

    Raises: OutOfMemory: if one of the last kind does not fit on a device with its own memory.
    """
    found = {}
    for name, one in moving.items():
        needed = one.bytes + room.layers
        fits = asked == "model" or needed <= room.left
        if not fits and not one.layered and hardware.has_own_memory:
            raise OutOfMemory(
                f"{name} needs {needed / 1e6:.0f} MB of the device while it computes, and in 4 "
                f"bits it cannot come by layers; {max(0, room.left) / 1e6:.0f} MB are left for it; "
                "take --quantize int8, or raise the budget with --memory"
            )
        if fits or not one.layered:
            found[name] = one
    return found


def lru_victims(present: Mapping[str, int], needed: int, room: int) -> list[str]:
    """List what must leave, the longest unused first, so that `needed` bytes come in.

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
