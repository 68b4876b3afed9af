"""Stage 2: train the UNet and the text encoder together on cached latents.

    python -m training.stages.unet --minutes 80 [--resume]

The schedule follows the clock, not a step count. Checkpoints hold the weights, their moving
average and the optimizer; `samples-*.png` are drawn with the average as the run goes.
Source: Ho et al. 2020, arXiv:2006.11239; Rombach et al. 2022, arXiv:2112.10752.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from training.data.concepts import load_concepts
from training.data.corpus import Corpus, Shares, vocabulary_phrases
from training.data.drawings import load_drawings
from training.data.latents import prepare_latents
from training.data.lexicon import Lexicon, with_near_words
from training.data.scenes import load_scenes
from training.data.tokenizer import build_text_encoder, learn_tokenizer
from training.data.words import english_words, sentence_vectors
from training.optim import ddpm, stage
from training.optim.checkpoint import load_checkpoint, save_checkpoint
from training.optim.muon import Muon, split_named
from training.optim.optimizers import Optimizers
from training.optim.run_folder import read_fields, stage_parser
from training.stages.decoder import load_vae
from training.stages.samples import sample_grid
from training.stages.shipped import load_shipped
from training.stages.text_encoder import teach_text

LEVELS = 10
# AdamW's: embeddings, and the layers whose input or output is no hidden state.
BY_ELEMENT = ("embedding", "conv_in", "conv_out")


@dataclass(frozen=True)
class Config(stage.StageConfig):
    """Configuration of this stage's run."""

    channels: tuple[int, ...] = (64, 128, 256)
    heads: int = 4
    text_hidden: int = 256
    text_layers: int = 2
    vocabulary: int = 10000
    words: int = 45000
    concepts: int = 10_000
    matrix_rate: float = 0.02
    rate: float = 1e-3
    text_rate: float = 0.02
    text_minutes: float = 6.0
    weight_decay: float = 0.01
    caption_dropout: float = 0.1
    gamma: float = 5.0
    noisy_boost: float = 3.0
    scene_share: float = 0.2
    minutes: float = 80.0
    checkpoint_minutes: float = 6.0
    log_steps: int = 50
    start: str = ""


class Model(nn.Module):
    """The two parts that are trained together."""

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel) -> None:
        super().__init__()
        self.unet = unet
        self.text = text


def build_unet(config: Config) -> UNet2DConditionModel:
    """An untrained UNet, 16×16×4 latents, attention on the two inner levels.

    The pooled text is added to the time embedding too: what holds for the whole picture (which
    thing, which style, which background) then reaches every residual block at once.
    The last layer of every residual branch starts at zero, so that each block starts as identity.
    """
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=config.channels,
        layers_per_block=1,
        cross_attention_dim=config.text_hidden,
        attention_head_dim=config.heads,
        addition_embed_type="text",
        addition_embed_type_num_heads=config.heads,
    )
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet


class LevelLoss:
    """Mean ε-error in ten equal ranges of t, since the last report."""

    def __init__(self) -> None:
        self._sum, self._count = torch.zeros(LEVELS), torch.zeros(LEVELS)

    def add(self, t: Tensor, errors: Tensor) -> None:
        """Take in one batch."""
        level = t * LEVELS // ddpm.STEPS
        self._sum.index_add_(0, level, errors.detach())
        self._count.index_add_(0, level, torch.ones_like(errors))

    def report(self) -> str:
        """The means, least noise first; starts over."""
        means = (self._sum / self._count.clamp(min=1)).tolist()
        self._sum.zero_()
        self._count.zero_()
        return " ".join(f"{value:.4f}" for value in means)


@dataclass(frozen=True)
class Prepared:
    """Data that the run starts from, made or read from the cache."""

    corpus: Corpus
    lexicon: Lexicon


def prepare(config: Config, cache: Path, stream: tuple[int, ...] = ()) -> Prepared:
    """Latents and captions, and the phrases whose meaning the text encoder learns.

    Args:
        stream: rows drawn under one stream are not those of another.
    """
    drawings, scenes = load_drawings(cache), load_scenes(cache)
    every = load_concepts(drawings.names)
    concepts = every[: config.concepts]
    latents = prepare_latents(load_vae(cache), drawings, concepts, scenes, cache / "unet")
    words = english_words(config.words)
    captions = vocabulary_phrases(every, scenes.captions, words, config.seed)
    tokenizer = learn_tokenizer(captions, config.vocabulary)
    names = [name for c in concepts for name in (c.label, *c.names, *c.tags)]
    phrases = list(dict.fromkeys([*words, *names]))
    lexicon = Lexicon.of(phrases, sentence_vectors(phrases, cache / "words"), concepts)
    concepts = with_near_words(concepts, lexicon)
    rng = np.random.default_rng((config.seed, 2, *stream))
    corpus = Corpus(latents, concepts, scenes.captions, tokenizer, Shares(config.scene_share), rng)
    return Prepared(corpus, lexicon)


def make_optimizers(masters: dict[str, Tensor], config: Config) -> Optimizers:
    """Muon for matrices, AdamW for the rest; the text encoder learns at a share of the rates.

    Args:
        masters: parameters by their names in `Model`.
    """
    muon: list[dict[str, Any]] = []
    adam: list[dict[str, Any]] = []
    for part, share in (("unet", 1.0), ("text", config.text_rate)):
        own = {name: p for name, p in masters.items() if name.startswith(part + ".")}
        matrices, others = split_named(own.items(), BY_ELEMENT)
        muon.append({"params": matrices, "lr": config.matrix_rate * share})
        adam.append({"params": others, "lr": config.rate * share})
    decay = config.weight_decay
    return Optimizers(
        Muon([group for group in muon if group["params"]], weight_decay=decay),
        torch.optim.AdamW(
            [group for group in adam if group["params"]],
            betas=(0.9, 0.99), weight_decay=decay, fused=True,
        ),
    )  # fmt: skip


def read_config(folder: Path) -> Config:
    """The Config as the run saved it in `folder/config.json`."""
    return Config(**read_fields(folder))


def build_model(config: Config, vocabulary: int) -> Model:
    """The UNet and the text encoder, untrained."""
    text = build_text_encoder(vocabulary, config.text_hidden, config.text_layers)
    return Model(build_unet(config), text)


def taught_text(config: Config, data: Prepared, folder: Path, resume: bool) -> dict[str, Tensor]:
    """The text encoder's weights after its first minutes, kept in `folder`."""
    path = folder / "text.safetensors"
    if not (resume and path.exists()):
        text = build_text_encoder(
            len(data.corpus.tokenizer), config.text_hidden, config.text_layers
        )
        teach_text(text, data.corpus, data.lexicon, config.text_minutes, config.seed)
        save_checkpoint(path, text.state_dict(), {})
    return load_checkpoint(path)[0]


class UnetTask(stage.Task):
    """The UNet and the text encoder, see `stage.Task`."""

    def __init__(self, config: Config, cache: Path, stream: tuple[int, ...]) -> None:
        self._config = config
        self._data = prepare(config, cache, stream)
        self._corpus = self._data.corpus
        self._parts = build_model(config, len(self._corpus.tokenizer))
        self.model: nn.Module = self._parts
        self._alpha_bar = ddpm.alphas_cumprod()
        self._weights = ddpm.noise_weight(self._alpha_bar, config.gamma, config.noisy_boost)
        self._levels = LevelLoss()
        self._rows = config.batch // config.workers

    def begin(self, folder: Path, resume: bool) -> None:
        """A text encoder that was taught first, or all weights of `config.start`."""
        if self._config.start:
            shipped = load_shipped(self._config.start)
            self._parts.unet.load_state_dict(shipped.unet.state_dict())
            self._parts.text.load_state_dict(shipped.text_encoder.state_dict())
        else:
            text = taught_text(self._config, self._data, folder, resume)
            self._parts.text.load_state_dict(text)

    def loss(self) -> Tensor:
        """The weighted error of this worker's rows."""
        batch = self._corpus.draw(self._rows, self._config.caption_dropout)
        hidden = self._parts.text(batch.tokens).last_hidden_state

        def denoiser(x: Tensor, t: Tensor) -> Tensor:
            found: Tensor = self._parts.unet(x.bfloat16(), t, hidden, return_dict=False)[0]
            return found.float()

        t = ddpm.uniform_timesteps(self._rows, ddpm.STEPS)
        noise = torch.randn_like(batch.latents)
        errors = ddpm.ddpm_step(denoiser, batch.latents, noise, t, self._alpha_bar)
        self._levels.add(t, errors)
        return (errors * self._weights[t]).mean()

    def note(self) -> str:
        """The errors by noise level."""
        return f"by level {self._levels.report()}"

    def make_optimizers(self, masters: dict[str, Tensor]) -> Optimizers:
        """Muon and AdamW for both parts, see the module's `make_optimizers`."""
        return make_optimizers(masters, self._config)

    def show(self, average: dict[str, Tensor], folder: Path, step: int) -> None:
        """The fixed prompts, drawn with the average."""
        drawn = build_model(self._config, len(self._corpus.tokenizer))
        drawn.load_state_dict(average)
        parts = (drawn.unet, drawn.text, self._corpus.tokenizer, self._corpus.latents.vae)
        sample_grid(*parts).save(folder / f"samples-{step:06d}.png")


def main() -> None:
    """The command line of this stage."""
    parser = stage_parser(__doc__, Config.minutes)
    parser.add_argument("--concepts", type=int, default=Config.concepts, help="only the first N")
    parser.add_argument("--start", default="", help="a model folder whose weights are taken on")
    parser.add_argument("--rate-share", type=float, default=1.0, help="of the usual rates")
    args = parser.parse_args()
    config = Config(
        minutes=args.minutes,
        concepts=args.concepts,
        start=args.start,
        matrix_rate=Config.matrix_rate * args.rate_share,
        rate=Config.rate * args.rate_share,
    )
    stage.train("unet", UnetTask, config, args.cache, args.resume)


if __name__ == "__main__":
    main()
