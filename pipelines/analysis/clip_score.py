"""CLIP score: measures how well a picture shows its prompt, where CLIP's weights are there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.errors import ModelUnavailable
from pipelines.utils.threads import run_in_short_lived_thread

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER = "emoji-clip"
"""The folder, beside the models, that holds the scorer of the shipped model."""


class Scorer(Protocol):
    """Scorer protocol: tells how well pictures show a prompt."""

    def adherence(self, pictures: Sequence[Image], prompt: str) -> list[float]:
        """Score the likeness of each picture and the prompt; higher is closer, −1..1."""


class ClipScorer:
    """CLIP score: cosine of the embeddings of picture and text. Loads at the first score.

    Args:
        folder: a transformers CLIPModel with tokenizer and image processor, as safetensors.
    Source: Radford et al. 2021, arXiv:2103.00020; as a score: Hessel et al. 2021,
        arXiv:2104.08718.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any, Any] | None = None

    def adherence(self, pictures: Sequence[Image], prompt: str) -> list[float]:
        """Score as `Scorer` says, on the CPU in a thread of its own: the device is not needed.

        Raises: ModelUnavailable: if the folder cannot be loaded.
        """
        return (
            run_in_short_lived_thread(lambda: self._adherence(pictures, prompt)) if pictures else []
        )

    def _adherence(self, pictures: Sequence[Image], prompt: str) -> list[float]:
        import torch

        with self._lock:  # loading is not thread-safe
            model, tokenizer, processor = self._loaded = self._loaded or self._load()
        tokens = tokenizer([prompt], padding=True, truncation=True, return_tensors="pt")
        pixels = processor([p.convert("RGB") for p in pictures], return_tensors="pt")
        with torch.inference_mode():
            found = model(
                input_ids=tokens.input_ids,
                attention_mask=tokens.attention_mask,
                pixel_values=pixels.pixel_values,
            )
        images = torch.nn.functional.normalize(found.image_embeds, dim=-1)
        text = torch.nn.functional.normalize(found.text_embeds, dim=-1)
        return [float(score) for score in images @ text[0]]

    def _load(self) -> tuple[Any, Any, Any]:
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        options: dict[str, Any] = {"local_files_only": True}
        try:
            model = CLIPModel.from_pretrained(self.folder, use_safetensors=True, **options)
            tokenizer = CLIPTokenizer.from_pretrained(self.folder, **options)
            processor = CLIPImageProcessor.from_pretrained(self.folder, **options)
        except (OSError, ValueError) as error:
            raise ModelUnavailable(
                f"scorer {self.folder.name!r} cannot be loaded: {error}"
            ) from None
        return model.eval(), tokenizer, processor


def find_scorer(folders: Iterable[Path]) -> Scorer | None:
    """Find the scorer in the first of these models folders that has one."""
    for folder in folders:
        path = folder / FOLDER
        try:
            config = json.loads((path / "config.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(config, dict) and config.get("model_type") == "clip":
            return _scorer(path.resolve())
    return None


@lru_cache(maxsize=4)
def _scorer(path: Path) -> ClipScorer:
    return ClipScorer(path)
