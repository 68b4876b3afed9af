"""OpenVINO backend: converts and compiles on the CPU, in float32; keeps both on disk."""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.backends.base import NetworkCache, affordable, filled, size_for
from pipelines.utils.files import drafts

# Importing openvino imports openvino_telemetry, which reports to a server. Nothing here does:
# with None in its place, openvino falls back to its own stub.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: E402

log = logging.getLogger(__name__)


class OpenVino:
    """The network as OpenVINO models, one a batch size, each compiled when it is first asked for.

    They are made from a trace, so they hold for one shape of picture; each new shape is traced
    anew. Every compiled model has its own copy of the weights: the oldest go when there are more
    than there are sizes.

    Attributes:
        conversions: times that the network was traced, not read from disk.
    """

    static = True

    def __init__(self, network: nn.Module, place: NetworkCache, sizes: Sequence[int]) -> None:
        self.conversions = 0
        self._network = network
        self._place = place
        self._sizes = tuple(sizes)
        self._core = openvino.Core()
        self._models: dict[tuple[tuple[int, ...], ...], Any] = {}
        self._ready: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        rows = len(inputs[0])
        inputs = filled(inputs, size_for(rows, self._sizes))
        shapes = tuple(tuple(value.shape) for value in inputs)
        if shapes not in self._ready:
            while len(self._ready) >= len(self._sizes):
                self._ready.popitem(last=False)
            self._ready[shapes] = self._compile(inputs)
        self._ready.move_to_end(shapes)
        arrays = [value.contiguous().numpy() for value in inputs]
        output = self._ready[shapes].infer(arrays, share_inputs=True)[0]
        return torch.from_numpy(output)[:rows]

    @classmethod
    def sizes(cls, network: nn.Module, memory: int) -> tuple[int, ...]:
        return affordable(network, memory, (2, 16, 8, 4, 1, 32))

    def _compile(self, inputs: Sequence[Tensor]) -> Any:
        started = time.perf_counter()
        model = self._model(inputs).clone()
        model.reshape(
            {
                port: openvino.PartialShape(list(value.shape))
                for port, value in zip(model.inputs, inputs, strict=True)
            }
        )
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        if self._place.cache is not None:
            options["CACHE_DIR"] = str(self._place.cache / "compiled")
        request = self._core.compile_model(model, "CPU", options).create_infer_request()
        seconds = time.perf_counter() - started
        log.info("OpenVINO: batches of %d ready in %.1f s", len(inputs[0]), seconds)
        return request

    def _model(self, inputs: Sequence[Tensor]) -> Any:
        """The converted network, whatever its batch; read from disk if it was converted before."""
        shapes = tuple(tuple(value.shape[1:]) for value in inputs)
        if shapes not in self._models:
            file = self._file(shapes)
            model = None if file is None else self._read(file)
            if model is None:
                model = _convert(self._network, inputs)
                self.conversions += 1
                if file is not None:
                    _save(model, file)
            self._models[shapes] = model
        return self._models[shapes]

    def _read(self, file: Path) -> Any:
        """A model that was converted before; None if there is none, or its files are damaged."""
        if not file.is_file():
            return None
        try:
            return self._core.read_model(str(file))
        except RuntimeError as error:
            log.warning("%s is made anew: %s", file, error)
            return None

    def _file(self, shapes: tuple[tuple[int, ...], ...]) -> Path | None:
        if self._place.cache is None:
            return None
        # A trace also depends on what traced it.
        import diffusers

        versions = f"{openvino.__version__} {torch.__version__} {diffusers.__version__}"
        material = f"{self._place.fingerprint} {shapes} {versions}"
        name = hashlib.sha256(material.encode()).hexdigest()[:32]
        return self._place.cache / "converted" / f"{name}.xml"


def _convert(network: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """An OpenVINO model of the network for pictures of this shape, in any number."""
    two = filled([value[:1] for value in inputs], 2)
    # A tensor made under inference_mode cannot be traced.
    with torch.inference_mode(False), torch.no_grad():
        trace: Any = torch.jit.trace
        traced = trace(network, [value.clone() for value in two], check_trace=False)
    frontend = FrontEndManager().load_by_framework("pytorch")
    # `convert_model` would do the same, by way of the telemetry. The decoder must outlive it.
    decoder = TorchScriptPythonDecoder(traced)
    return frontend.convert(frontend.load(decoder))


def _save(model: Any, file: Path) -> None:
    """Write a model in float32: the weights whole before the file that names it appears."""
    try:
        with drafts(file.with_suffix(".bin"), file, keep_suffix=True) as (_, draft):
            openvino.save_model(model, str(draft), compress_to_fp16=False)
    except (OSError, RuntimeError) as error:
        log.warning("the converted model is not kept: %s cannot be written: %s", file, error)
