"""Device probes: find the device, its memory and the dtypes it computes with.

Nothing is probed before it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.errors import ModelUnavailable, first_line


def resolve_device(asked: str) -> str:
    """Resolve what was asked for to a torch device. Raises: ModelUnavailable: if it is not here."""
    import torch

    if asked == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(asked).type
    except RuntimeError as error:
        raise ModelUnavailable(f"device {asked!r}: {first_line(error)}") from None
    present = {"cpu": True, "cuda": torch.cuda.is_available()}.get(
        kind, kind == "mps" and torch.backends.mps.is_available()
    )
    if not present:
        raise ModelUnavailable(f"device {asked!r} is not on this machine; try --device cpu")
    return asked


def device_memory(device: str) -> int:
    """Measure the bytes of memory that a device has in all."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    import psutil

    return int(psutil.virtual_memory().total)


def free_memory(device: str) -> int:
    """Measure the bytes that work on a device could have now."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    import psutil

    return int(psutil.virtual_memory().available)


def hardware(device: str) -> Hardware:
    """Probe a device, as far as memory goes."""
    total = device_memory(device)
    if not device.startswith("cuda"):
        return Hardware(device, total)
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    mine = torch.cuda.memory_reserved(device)
    # Older cards only emulate bfloat16, at a fraction of the speed.
    bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
    return Hardware("cuda", total, max(0, total - free - mine), True, bfloat16)


def device_label(device: str) -> str:
    """Name a device as far as speed goes: its kind and name, and the threads of a CPU."""
    import platform

    import torch

    if device.startswith("cuda"):
        return f"cuda {torch.cuda.get_device_name(device)}"
    if device == "cpu":
        instructions = torch.backends.cpu.get_cpu_capability()
        return f"cpu {platform.machine()} {instructions} {torch.get_num_threads()} threads"
    return device


def wait_for(device: str) -> None:
    """Wait until a device has done what it was asked to, so that clocks tell the truth."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


@dataclass(frozen=True, slots=True)
class Hardware:
    """Hardware: describes a device as far as memory goes.

    Attributes:
        kind: `cpu`, `cuda` or `mps`.
        total: bytes of its memory.
        taken: bytes that others use of it.
        has_own_memory: discrete GPU; weights can be offloaded to host memory.
        bfloat16: whether it computes with them.
    """

    kind: str
    total: int
    taken: int = 0
    has_own_memory: bool = False
    bfloat16: bool = False
