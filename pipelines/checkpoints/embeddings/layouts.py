"""Embedding layouts: tells which tensors of a file are the vectors of which text encoder.

| layout | tensors |
| --- | --- |
| AUTOMATIC1111's, kohya's | `emb_params`, or `string_to_param.*` of a converted pickle |
| diffusers' | the token's own name, such as `<cat-toy>` |
| SDXL's | `clip_l` and `clip_g`, or `text_encoders_0` and `text_encoders_1` |
| in a LoRA's file | any of these behind `bundle_emb.NAME.` |

Sources: AUTOMATIC1111/stable-diffusion-webui (`modules/textual_inversion/textual_inversion.py`,
    `extensions-builtin/Lora/networks.py`), diffusers' `loaders/textual_inversion.py`,
    kohya-ss/sd-scripts (`sdxl_train_textual_inversion.py`), comfyanonymous/ComfyUI (`sd1_clip.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.checkpoints.formats.header import Header
from pipelines.checkpoints.identification.denoiser import Shapes
from pipelines.checkpoints.identification.lora_names import BUNDLED
from pipelines.errors import ModelUnavailable, first_line
from pipelines.families import FamilySpec
from pipelines.families.capabilities import Configs

if TYPE_CHECKING:
    from torch import Tensor

ANY = ""
"""The key of vectors that do not say which encoder they are for."""
VECTORS_MAX = 75
"""A text encoder of CLIP reads no more."""
_XL = ("clip_l", "clip_g")
_KEYS = {"clip_l": "clip_l", "clip_g": "clip_g", "text_encoders_0": "clip_l",
         "text_encoders_1": "clip_g"}  # fmt: skip
_WORDS = "string_to_token"


@dataclass(frozen=True, slots=True)
class Embedding:
    """Embedding (textual inversion): a word that is vectors of a text encoder's width.

    Attributes:
        name: by which prompts name it.
        file: that it is in, by itself or bundled into a LoRA.
        tensors: key of a text encoder to the name of its tensor in the file.
        shapes: of those, (vectors, width).
    """

    name: str
    file: Path
    tensors: Mapping[str, str]
    shapes: Mapping[str, tuple[int, int]]

    @property
    def vectors(self) -> int:
        """How many tokens it takes in a prompt; of two encoders the longer counts."""
        return max(count for count, _ in self.shapes.values())

    def misfit(self, spec: FamilySpec, configs: Configs) -> str | None:
        """Explain why a model's prompts cannot name it, as a sentence's end; None if they can."""
        if not spec.embeddings:
            return f"no embedding acts on {spec.label} models here"
        if len(spec.embeddings) != len(self.shapes):
            return (
                f"it has vectors for {_encoders(len(self.shapes))}, and {spec.label} models have "
                f"{_encoders(len(spec.embeddings))}"
            )
        for key, row in zip(spec.embeddings, spec.text_encoders, strict=True):
            own = self.shapes.get(key) or next(iter(self.shapes.values()))
            width = configs[row.encoder].get("hidden_size")
            if own[1] != width:
                return f"its vectors have {own[1]} numbers, and this model's {row.encoder} {width}"
        return None

    def read(self, spec: FamilySpec) -> dict[str, Tensor]:
        """Read its vectors, (vectors, width) float32 each, by the encoders' names.

        Raises: ModelUnavailable: if the file cannot be read, or holds what is no number.
        """
        import torch
        from safetensors import SafetensorError, safe_open

        found: dict[str, Tensor] = {}
        try:
            with safe_open(self.file, framework="pt", device="cpu") as file:
                for key, row in zip(spec.embeddings, spec.text_encoders, strict=True):
                    name = self.tensors.get(key) or next(iter(self.tensors.values()))
                    found[row.encoder] = file.get_tensor(name).float().reshape(-1, self._width(key))
        except (SafetensorError, OSError, RuntimeError) as error:
            raise ModelUnavailable(
                f"{self.file} cannot be read: {first_line(error)[:200]}"
            ) from None
        if not all(torch.isfinite(tensor).all() for tensor in found.values()):
            raise ModelUnavailable(f"{self.file} is damaged: some of its vectors are no numbers")
        return found

    def _width(self, key: str) -> int:
        return (self.shapes.get(key) or next(iter(self.shapes.values())))[1]


def embedding_of(name: str, file: Path, header: Header) -> Embedding:
    """Read which vectors a file has. Raises: ModelUnavailable: if it is no embedding's."""
    found = _embedding(name, file, {one: one for one in header.rows}, header.shapes)
    if found is None:
        raise ModelUnavailable(
            f"{file} is no embedding that is known here: it should hold one tensor of at most "
            f"{VECTORS_MAX} vectors, or clip_l and clip_g"
        )
    return found


def bundled_embeddings(file: Path, shapes: Shapes) -> list[Embedding]:
    """List the embeddings in a LoRA's file.

    Raises: ModelUnavailable: if one of them is of no layout that is known.
    """
    groups: dict[str, dict[str, str]] = {}
    for full in shapes:
        if full.startswith(BUNDLED):
            name, _, rest = full.removeprefix(BUNDLED).partition(".")
            groups.setdefault(name, {})[rest] = full
    found = []
    for name, tensors in sorted(groups.items()):
        one = _embedding(name, file, tensors, {rest: shapes[at] for rest, at in tensors.items()})
        if one is None:
            raise ModelUnavailable(f"{file} bundles {name!r}, which is no embedding known here")
        found.append(one)
    return found


def _embedding(
    name: str, file: Path, tensors: Mapping[str, str], shapes: Shapes
) -> Embedding | None:
    """The embedding that these tensors are.

    Args:
        tensors: names in their layout to names in the file.
    """
    given = [one for one in tensors if not one.startswith(_WORDS)]
    keys = {_KEYS.get(one, ANY): one for one in given}
    if len(keys) != len(given) or not (set(keys) == set(_XL) or len(keys) == 1):
        return None
    sizes: dict[str, tuple[int, int]] = {}
    for key, one in keys.items():
        shape = shapes[one]
        if len(shape) not in (1, 2):
            return None
        count, width = (1, *shape) if len(shape) == 1 else (shape[0], shape[1])
        if not 1 <= count <= VECTORS_MAX or not width:
            return None
        sizes[key] = (count, width)
    return Embedding(name, file, {key: tensors[one] for key, one in keys.items()}, sizes)


def _encoders(count: int) -> str:
    return "one text encoder" if count == 1 else f"{count} text encoders"
