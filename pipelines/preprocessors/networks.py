"""Vision networks of transformers: loads and runs them from a local folder with safetensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ModelUnavailable

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Network:
    """Vision model with its image processor."""

    model: Any
    processor: Any

    def look(self, picture: Image) -> Any:
        """Run the model on one picture, at the size it was trained on, on the CPU."""
        import torch

        pixels = self.processor(images=picture, return_tensors="pt").pixel_values
        with torch.inference_mode():
            return self.model(pixel_values=pixels)


@lru_cache(maxsize=2)
def load(folder: Path, kind: str) -> Network:
    """Load the network in a folder.

    Args:
        kind: the auto class of transformers that loads it.
    Raises: ModelUnavailable: if it cannot be loaded.
    """
    from safetensors import SafetensorError

    transformers = import_module("transformers")  # as `tokens` does, and for the same reason
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = getattr(transformers, kind).from_pretrained(folder, use_safetensors=True, **options)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelUnavailable(f"{folder} cannot be loaded: {error}") from None
    return Network(model.float().eval(), processor)
