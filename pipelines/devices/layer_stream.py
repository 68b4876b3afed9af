"""Layer stream: brings a component's layers to the device one by one, the next ones ahead.

For what is too large for the device as a whole. As many layers as there is room for stay there;
the rest is read from pinned memory by a stream of its own while others compute, so the program
waits for none of it. Weights do not change, so nothing is ever copied back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.devices.out_of_memory import is_out_of_memory
from pipelines.devices.pinned_memory import pin

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Layer:
    """Layer that comes and goes.

    Attributes:
        slots: where its tensors are: a module's dictionary, the name in it, the host's tensor.
        bytes: of all of them.
        coming: the device's copies, on their way or there; None where it only waits.
        versions: of the host's tensors when they were copied: LoRAs change those in place.
        stays: it does not leave between two calls.
    """

    slots: list[tuple[dict[str, Any], str, Tensor]]
    bytes: int
    coming: list[Tensor] | None = None
    arrived: Any = None
    versions: list[int] = field(default_factory=list)
    stays: bool = False


class LayerStream:
    """Layer stream of one component, whose layers wait in main memory between their calls.

    Args:
        component: on the CPU. It has hooks on its layers afterwards.
        device: where they compute.
    """

    def __init__(self, component: nn.Module, device: str) -> None:
        self._device = torch.device(device)
        self._cuda = self._device.type == "cuda"
        stream: Any = torch.cuda.Stream
        self._stream: Any = stream(device=self._device) if self._cuda else None
        self._layers: list[Layer] = []
        self._loose: list[tuple[dict[str, Any], str, Tensor]] = []
        self._after: dict[int, int] = {}
        self._last: int | None = None
        if self._cuda:
            pin(component)
        for module in component.modules():
            slots = list(_slots(module))
            if not slots:
                continue
            if next(module.children(), None) is not None:
                self._loose += slots  # read by its own code, whenever that runs
                continue
            self._hook(module, len(self._layers))
            self._layers.append(Layer(slots, sum(_bytes(one) for *_, one in slots)))
        self._ahead = max((layer.bytes for layer in self._layers), default=0)

    @property
    def least(self) -> int:
        """Bytes that it takes while it computes if no layer stays: two are there at once."""
        return sum(_bytes(one) for *_, one in self._loose) + 2 * self._ahead

    @property
    def staying(self) -> int:
        """Bytes of the layers that stay."""
        return sum(layer.bytes for layer in self._layers if layer.stays)

    def keep(self, room: int) -> None:
        """Let as many layers as fit in `room` bytes stay, evenly spread; the others come and go.

        Raises: torch.OutOfMemoryError: if they do not fit after all; then none is there.
        """
        chosen = evenly_spread(self._layers, room)
        ids = {id(layer) for layer in chosen}
        try:
            for layer in self._layers:
                if layer.stays and id(layer) not in ids:
                    layer.stays = False
                    self._leave(layer)
            for place, name, host in self._loose:
                if place[name] is host:
                    place[name] = _like(host.to(self._device), host)
            for layer in chosen:
                if not layer.stays:
                    self._fetch(layer)
                    self._put(layer)
                    layer.stays = True
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let nothing of it be on the device."""
        for layer in self._layers:
            layer.stays = False
        self.drop()
        _restore(self._loose)

    def drop(self) -> None:
        """Let go of all that does not stay."""
        for layer in self._layers:
            if not layer.stays:
                self._leave(layer)

    def _hook(self, module: nn.Module, index: int) -> None:
        module.register_forward_pre_hook(lambda *_: self._enter(index), prepend=True)
        # Also when it fails, so that nothing of it stays.
        module.register_forward_hook(lambda *_: self._exit(index), always_call=True)

    def _enter(self, index: int) -> None:
        layer = self._layers[index]
        if self._last is not None:
            self._after[self._last] = index
        self._last = index
        if not layer.stays:
            if layer.coming is None or layer.versions != _versions(layer):
                self._fetch(layer)
            self._put(layer)
        self._look_ahead(index)

    def _exit(self, index: int) -> None:
        if not self._layers[index].stays:
            self._leave(self._layers[index])

    def _look_ahead(self, index: int) -> None:
        """Fetch what comes next, as many bytes as the largest layer has."""
        if not self._cuda:
            return
        ahead, following = 0, self._after.get(index)
        while following is not None and following != index:
            layer = self._layers[following]
            if not layer.stays:
                ahead += layer.bytes
                if ahead > self._ahead:
                    return
                if layer.coming is None and not self._tried(layer):
                    return
            following = self._after.get(following)

    def _tried(self, layer: Layer) -> bool:
        """Fetch a layer ahead, if there is room; without, it comes when it is called."""
        try:
            self._fetch(layer)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _fetch(self, layer: Layer) -> None:
        """Begin to copy a layer to the device."""
        layer.versions = _versions(layer)
        if not self._cuda:
            layer.coming = [host.to(self._device) for *_, host in layer.slots]
            return
        with torch.cuda.stream(self._stream):
            layer.coming = [host.to(self._device, non_blocking=True) for *_, host in layer.slots]
            layer.arrived = self._stream.record_event()

    def _put(self, layer: Layer) -> None:
        """Let the layer compute with the device's copies, once they have arrived."""
        assert layer.coming is not None, "it was fetched"
        if self._cuda:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(layer.arrived)
            for copy in layer.coming:
                copy.record_stream(current)  # it was made on the other stream
        for (place, name, host), copy in zip(layer.slots, layer.coming, strict=True):
            place[name] = _like(copy, host)

    def _leave(self, layer: Layer) -> None:
        _restore(layer.slots)
        layer.coming = layer.arrived = None


def evenly_spread(layers: list[Layer], room: int) -> list[Layer]:
    """Choose layers of no more than `room` bytes, so that those between them are spread evenly.

    A copy is hidden behind what computes meanwhile: a run of layers that must all come would wait.
    """
    total = sum(layer.bytes for layer in layers)
    if not total:
        return []
    chosen, used, due = [], 0, 0.0
    for layer in layers:
        due += layer.bytes * min(1.0, room / total)
        if due >= layer.bytes and used + layer.bytes <= room:
            chosen.append(layer)
            used += layer.bytes
            due -= layer.bytes
    return chosen


def _slots(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    """A module's own tensors, each with the dictionary and the name that it has there."""
    for place in (module._parameters, module._buffers):
        for name, tensor in place.items():
            if tensor is not None:
                yield place, name, tensor


def _like(copy: Tensor, host: Tensor) -> Tensor:
    return nn.Parameter(copy, requires_grad=False) if isinstance(host, nn.Parameter) else copy


def _restore(slots: list[tuple[dict[str, Any], str, Tensor]]) -> None:
    for place, name, host in slots:
        place[name] = host


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _versions(layer: Layer) -> list[int]:
    return [0 if host.is_inference() else host._version for *_, host in layer.slots]
