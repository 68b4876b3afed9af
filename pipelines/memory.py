"""What is kept in which numbers, where, and what gives way when memory runs out.

All of it is arithmetic on bytes and names, so that it is tested without a GPU: nothing is probed
here, and torch is not imported. `devices` says what is there; `placing`, `components` and
`decoding` do what is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import OutOfMemory

Numbers = Literal["float32", "float16", "bfloat16"]
Offload = Literal["auto", "none", "model", "group"]
Home = Literal["device", "model", "group"]
Work = Literal["rows", "pictures"]
Rung = Literal["free", "halve", "slice", "tile"]

BYTES: Mapping[Numbers, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
T5 = "T5EncoderModel"
VAE = "AutoencoderKL"

_GIB = 2**30
_TRAINED_IN_BFLOAT16 = frozenset({"sd3", "flux"})
_VAE_FITS_FLOAT16 = frozenset({"sd"})
_WIDE = 64
_COPIES = 3
"""Tensors of the decoder's widest layer at full size that exist at once, at least."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """A device as far as memory goes.

    Attributes:
        kind: `cpu`, `cuda` or `mps`.
        total: bytes of its memory.
        taken: bytes that others use of it.
        apart: whether its memory is another than the processor's, where things can wait.
        bfloat16: whether it computes with them.
    """

    kind: str
    total: int
    taken: int = 0
    apart: bool = False
    bfloat16: bool = False


# ---- numbers


def numbers(hardware: Hardware, family: str, cls: str, force_upcast: bool = True) -> Numbers:
    """The numbers a component computes with.

    On the CPU float32: parity is exact, and bfloat16 is slower there. On a GPU 16 bits, with the
    exponents of float32 where a model was trained with them and the card has them; without them
    T5 and most VAEs overflow, and stay in float32.

    Args:
        family: its model's id.
        cls: the component's class.
        force_upcast: what a VAE's config says of itself.
    """
    if hardware.kind != "cuda":
        return "float32"
    if family in _TRAINED_IN_BFLOAT16 and hardware.bfloat16:
        return "bfloat16"
    if cls == T5:
        return "bfloat16" if hardware.bfloat16 else "float32"
    if cls == VAE and force_upcast and family not in _VAE_FITS_FLOAT16:
        return "float32"
    return "float16"


def channels_last(device: str, library: str, widths: Sequence[int]) -> bool:
    """Whether a component's convolutions run on channels-last tensors: where that is faster.

    On GPUs it always is, on the CPU where layers are wide (a batch of 16 rows of the shipped
    U-Net takes a fifth less time); narrow ones do not fill its vectors.

    Args:
        widths: channels of its levels, `block_out_channels` of its config.
    """
    wide = max(widths, default=0) >= _WIDE
    return library == "diffusers" and (device != "cpu" or wide)


# ---- bytes


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


# ---- pictures


@dataclass(frozen=True, slots=True)
class VaePlan:
    """How latents become pictures: one by one, and in tiles, which changes pixels at seams."""

    slicing: bool = False
    tiling: bool = False


AT_ONCE = VaePlan()


def decode_bytes(batch: int, width: int, height: int, channels: Sequence[int], item: int) -> int:
    """Bytes that a VAE needs at least to decode, beside its weights.

    Its widest layer at full size has as many channels as the level below the last one, and its
    input, its norm and its output are there at once.

    Args:
        channels: `block_out_channels` of its config.
        item: bytes of a number.
    """
    widest = channels[min(1, len(channels) - 1)]
    return _COPIES * batch * width * height * widest * item


def vae_plan(
    batch: int, width: int, height: int, channels: Sequence[int], item: int, free: int
) -> VaePlan:
    """Slices and tiles where the device has not the bytes for all pictures, or for one, at once.

    The estimate is a lower bound: nothing is tiled that would have fitted.
    """
    if decode_bytes(batch, width, height, channels, item) <= free:
        return VaePlan()
    one = decode_bytes(1, width, height, channels, item)
    return VaePlan(slicing=batch > 1, tiling=one > free)


# ---- out of memory


def rungs(work: Work, count: int, exact: bool = False) -> tuple[Rung, ...]:
    """What is tried in turn when memory ran out; after the last, what was made fails alone.

    Args:
        work: the denoiser's rows, or pictures in the VAE; so many of them.
        exact: rows must go in batches of one size, which halving would change.
    """
    if work == "rows":
        return ("free", "halve") if count > 1 and not exact else ("free",)
    return ("free", "slice", "tile") if count > 1 else ("free", "tile")
