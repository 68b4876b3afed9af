"""Stage 8: train the CLIP score of picture and caption, `models/emoji-clip`.

    python -m training.stages.clip --minutes 8 [--resume]

The text tower is the shipped model's, unchanged; a small vision transformer learns to put pictures
where that tower puts their captions. Real pictures only, never generated ones.
Source: Radford et al. 2021, arXiv:2103.00020; the frozen text tower after Zhai et al. 2022
(locked-image tuning), arXiv:2111.07991.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextModel,
    CLIPTokenizer,
)

from training.data.captions import article
from training.data.concepts import Concept, load_concepts
from training.data.drawings import STYLES, load_drawings
from training.data.pairs import PairMaker
from training.data.renderings import SIDE
from training.data.scenes import load_scenes
from training.data.tokenizer import tokenize
from training.optim.optimizers import Optimizers, muon_and_adam
from training.optim.run_folder import log
from training.optim.stage import Task
from training.stages.shipped import SiblingConfig, run_sibling

BY_ELEMENT = ("embedding", "logit_scale")
# exp(4.6) = 100, where CLIP stops the temperature too.
LARGEST_SCALE = math.log(100)
HELD_OUT_SEED = 10**6


@dataclass(frozen=True)
class Config(SiblingConfig):
    """Configuration of this stage's run."""

    batch: int = 320
    ema_power: float = 12.0
    hidden: int = 192
    layers: int = 4
    heads: int = 3
    patch: int = 8
    projection: int = 256
    scene_share: float = 0.25
    matrix_rate: float = 0.02
    rate: float = 1.5e-3
    weight_decay: float = 0.02
    minutes: float = 8.0


def build_clip(config: Config, text: CLIPTextModel) -> CLIPModel:
    """A CLIP whose text tower has the weights of `text`; the rest is untrained."""
    vision = {
        "hidden_size": config.hidden,
        "intermediate_size": 4 * config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "image_size": SIDE,
        "patch_size": config.patch,
    }
    clip = CLIPModel(
        CLIPConfig(
            text_config=text.config.to_dict(),
            vision_config=vision,
            projection_dim=config.projection,
        )
    )
    states = dict(text.state_dict())
    own = set(clip.text_model.state_dict())
    # A lone text tower keeps its weights one level deeper in some versions of transformers.
    found = {name.removeprefix("text_model."): value for name, value in states.items()}
    clip.text_model.load_state_dict({name: found[name] for name in own})
    return clip


class LearningParts(nn.Module):
    """Parts that learn: image tower, both projections, temperature; names as in `clip`."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.vision_model: nn.Module = clip.vision_model
        self.visual_projection: nn.Module = clip.visual_projection
        self.text_projection: nn.Module = clip.text_projection
        self.logit_scale: nn.Parameter = clip.logit_scale


def info_nce(images: Tensor, texts: Tensor, log_scale: Tensor) -> Tensor:
    """The symmetric contrastive loss of a batch whose rows belong together.

    Math: ½·(CE(s·I·Tᵀ, i) + CE(s·T·Iᵀ, i)), I and T of length 1, s = exp(log_scale) ≤ 100
    Args:
        images, texts: embeddings, (B, D).
    Source: van den Oord et al. 2018, arXiv:1807.03748; Radford et al. 2021, Fig. 3.
    """
    scale = log_scale.clamp(max=LARGEST_SCALE).exp()
    logits = scale * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    rows = torch.arange(len(logits))
    return 0.5 * (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, rows))


def concept_captions(concepts: list[Concept]) -> list[str]:
    """Every concept in every style, on white: (concepts · styles) captions."""
    return [f"{article(c.label)} {c.label}, {style} style" for c in concepts for style in STYLES]


@torch.no_grad()
def measure(clip: CLIPModel, tokenizer: CLIPTokenizer, maker: PairMaker, concepts: list[Concept],
            count: int = 600) -> dict[str, float]:  # fmt: skip
    """Measure how well it tells pictures apart that it has not met.

    `zero_shot_top1`, `_top5`: the concept whose captions (mean over the styles) are nearest, among
    all. `right_over_wrong`: the share of captions that score their own picture above a random
    other one; `right_over_twin`: above the same concept in another style or background.
    """

    def texts(captions: list[str]) -> Tensor:
        state = clip.text_model(tokenize(tokenizer, captions)).pooler_output
        return F.normalize(clip.text_projection(state), dim=1)

    by_concept = torch.unflatten(texts(concept_captions(concepts)), 0, (-1, len(STYLES)))
    classes = F.normalize(by_concept.mean(1), dim=1)
    ranks, wrong, twin = [], [], []
    for _ in range(count // 100):
        pairs = maker.draw(100)
        state = clip.vision_model(pairs.pictures).pooler_output
        images = F.normalize(clip.visual_projection(state), dim=1)
        emoji = len(pairs.concepts)
        scores = images[:emoji] @ classes.T
        ranks.append((scores > scores.gather(1, pairs.concepts[:, None])).sum(1))
        likeness = texts(pairs.captions) @ images.T
        own = likeness.diagonal()
        # A shift by 37 pairs a caption with another concept or another scene.
        wrong.append(own > likeness.gather(1, ((torch.arange(100) + 37) % 100)[:, None])[:, 0])
        twins = torch.arange(emoji) ^ 1
        twin.append(own[:emoji] > likeness[:emoji].gather(1, twins[:, None])[:, 0])
    rank = torch.cat(ranks)
    return {
        "zero_shot_top1": round(float((rank < 1).float().mean()), 3),
        "zero_shot_top5": round(float((rank < 5).float().mean()), 3),
        "right_over_wrong": round(float(torch.cat(wrong).float().mean()), 3),
        "right_over_twin": round(float(torch.cat(twin).float().mean()), 3),
    }


class ClipTask(Task):
    """Contrastive training of the image tower, see `stage.Task`."""

    def __init__(self, config: Config, cache: Path, stream: tuple[int, ...]) -> None:
        self._config = config
        drawings, scenes = load_drawings(cache), load_scenes(cache)
        self._concepts = load_concepts(drawings.names)
        self._data = drawings, self._concepts, scenes, config.scene_share
        self._tokenizer, text = load_text(Path(config.model))
        self._clip = build_clip(config, text)
        self._parts = LearningParts(self._clip)
        self.model: nn.Module = self._parts
        self._rows = config.batch // config.workers
        # The tower is only read, so half precision is all it needs while training.
        self._text = self._clip.text_model.bfloat16()
        rank, step = stream or (0, 0)
        self._maker = PairMaker(*self._data, seed=1000 * (config.seed + step) + rank)

    def loss(self) -> Tensor:
        """InfoNCE over this worker's rows."""
        pairs = self._maker.draw(self._rows)
        with torch.no_grad():
            state = self._text(tokenize(self._tokenizer, pairs.captions)).pooler_output
        texts = self._parts.text_projection(state)
        pooled = self._parts.vision_model(pairs.pictures.bfloat16()).pooler_output
        images = self._parts.visual_projection(pooled)
        return info_nce(images.float(), texts.float(), self._parts.logit_scale.float())

    def make_optimizers(self, masters: dict[str, Tensor]) -> Optimizers:
        """Muon for matrices, AdamW for embeddings, norms, biases and the temperature."""
        config = self._config
        return muon_and_adam(
            masters.items(), BY_ELEMENT, config.matrix_rate, config.rate,
            decay=(config.weight_decay, 0.0), betas=(0.9, 0.98),
        )  # fmt: skip

    def show(self, average: dict[str, Tensor], folder: Path, step: int) -> None:
        """The figures of `measure`, to the log."""
        tokenizer, text = load_text(Path(self._config.model))
        clip = build_clip(self._config, text).eval()
        clip.load_state_dict(average, strict=False)
        maker = PairMaker(*self._data, seed=HELD_OUT_SEED, held_out=True)
        log.info("step %d held-out %s", step, measure(clip, tokenizer, maker, self._concepts))


def load_text(model: Path) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """The shipped model's tokenizer and text tower, float32."""
    text = CLIPTextModel.from_pretrained(model / "text_encoder", use_safetensors=True)
    return CLIPTokenizer.from_pretrained(model / "tokenizer"), text.float().eval()


def export(config: Config, average: dict[str, Tensor], out: Path) -> int:
    """Write the folder that `analysis.clip_score` loads, float16; returns the weights' bytes."""
    tokenizer, text = load_text(Path(config.model))
    clip = build_clip(config, text)
    missing = clip.load_state_dict(average, strict=False)
    if missing.unexpected_keys:
        raise ValueError(f"the checkpoint has weights of no such model: {missing.unexpected_keys}")
    clip.half().save_pretrained(out, safe_serialization=True)
    # Half precision is for the disk; on a CPU float32 is what everything can compute with.
    path = out / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"dtype": "float32"}, indent=2) + "\n"
    )
    tokenizer.save_pretrained(out)
    CLIPImageProcessor(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        resample=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    ).save_pretrained(out)
    return (out / "model.safetensors").stat().st_size


if __name__ == "__main__":
    run_sibling(__doc__, "clip", ClipTask, Config, export)
