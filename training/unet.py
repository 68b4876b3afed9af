"""Stage 2: the UNet and the text encoder, trained together on cached latents.

    python -m training.unet --minutes 80 [--resume]

The schedule follows the clock, not a step count. Checkpoints hold the weights, their moving
average and the optimizer; `samples-*.png` are drawn with the average as the run goes.
Source: Ho et al. 2020, arXiv:2006.11239; Rombach et al. 2022, arXiv:2112.10752.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from training import common, ddpm
from training.corpus import Corpus, Shares, vocabulary_phrases
from training.data.concepts import load_concepts
from training.data.drawings import load_drawings
from training.data.scenes import load_scenes
from training.data.words import english_words, sentence_vectors
from training.decoder import load_vae
from training.latents import prepare_latents
from training.muon import Muon, split_parameters
from training.sampling import sample_grid
from training.text import build_text_encoder, learn_tokenizer
from training.text_pretraining import teach_text

LEVELS = 10
# AdamW's: embeddings, and the layers whose input or output is no hidden state.
BY_ELEMENT = ("embedding", "conv_in", "conv_out")


@dataclass(frozen=True)
class Config:
    """Everything that decides the run, apart from the machine's speed."""

    channels: tuple[int, ...] = (64, 128, 256)
    heads: int = 4
    text_hidden: int = 256
    text_layers: int = 2
    vocabulary: int = 6000
    words: int = 12000
    concepts: int = 10_000
    batch: int = 64
    matrix_rate: float = 0.02
    rate: float = 1e-3
    text_rate: float = 0.2
    text_minutes: float = 5.0
    warmup: float = 0.03
    weight_decay: float = 0.01
    caption_dropout: float = 0.1
    gamma: float = 5.0
    noisy_boost: float = 3.0
    ema_power: float = 12.0
    scene_share: float = 0.2
    seed: int = 0
    minutes: float = 80.0
    checkpoint_minutes: float = 4.0
    sample_minutes: float = 8.0


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


def ema_decay(step: int, power: float) -> float:
    """The decay of an average over the last ~1/power of the run, however long it is.

    Math: β_t = (1 − 1/t)^(power + 1)
    Source: Karras et al. 2024, Eq. 127, arXiv:2312.02696.
    """
    return float((1 - 1 / max(step, 2)) ** (power + 1))


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average ← decay·average + (1 − decay)·model"""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


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
    """What the run starts from, made or read from the cache."""

    corpus: Corpus
    phrases: list[str]
    vectors: Tensor


def prepare(config: Config, cache: Path) -> Prepared:
    """Latents and captions, and the phrases whose meaning the text encoder learns."""
    drawings, scenes = load_drawings(cache), load_scenes(cache)
    every = load_concepts(drawings.names)
    concepts = every[: config.concepts]
    latents = prepare_latents(load_vae(cache), drawings, concepts, scenes, cache / "unet")
    words = english_words(cache / "words", config.words)
    captions = vocabulary_phrases(every, scenes.captions, words, config.seed)
    tokenizer = learn_tokenizer(captions, config.vocabulary)
    names = [name for c in every for name in (c.label, *c.names, *c.tags)]
    phrases = list(dict.fromkeys([*words, *names]))
    rng = np.random.default_rng((config.seed, 2))
    corpus = Corpus(latents, concepts, scenes.captions, tokenizer, Shares(config.scene_share), rng)
    return Prepared(corpus, phrases, sentence_vectors(phrases, cache / "words"))


def build_optimizers(model: Model, config: Config) -> common.Optimizers:
    """Muon for matrices, AdamW for the rest; the text encoder learns at a share of the rates."""
    muon, adam = [], []
    for part, share in ((model.unet, 1.0), (model.text, config.text_rate)):
        matrices, others = split_parameters(part, BY_ELEMENT)
        muon.append({"params": matrices, "lr": config.matrix_rate * share})
        adam.append({"params": others, "lr": config.rate * share})
    decay = config.weight_decay
    return common.Optimizers(
        Muon(muon, weight_decay=decay),
        torch.optim.AdamW(adam, betas=(0.9, 0.99), weight_decay=decay, fused=True),
    )


def train(config: Config, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` and return the checkpoint's path."""
    folder = cache / "unet"
    common.start_log(folder, "unet")
    common.save_config(config, folder)
    torch.manual_seed(config.seed)
    data = prepare(config, cache)
    corpus = data.corpus
    text = build_text_encoder(len(corpus.tokenizer), config.text_hidden, config.text_layers)
    path = folder / "checkpoint.safetensors"
    resume = resume and path.exists()
    if not resume:
        teach_text(text, corpus, data.phrases, data.vectors, config.text_minutes, config.seed)
    model = Model(build_unet(config), text).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).requires_grad_(False)
    common.log.info("%.2fM parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    optimizers = build_optimizers(model, config)
    step, clock = 0, common.Clock(config.minutes)
    if resume:
        tensors, state = common.load_checkpoint(path)
        model.load_state_dict(common.part(tensors, "model"))
        average.load_state_dict(common.part(tensors, "average"))
        optimizers.restore(tensors)
        step, clock = state["step"], common.Clock(config.minutes, state["spent"])
        common.log.info("resumed at step %d, %.0f s spent", step, clock.spent)
    alpha_bar = ddpm.alphas_cumprod()
    weights = ddpm.noise_weight(alpha_bar, config.gamma, config.noisy_boost)

    def row_errors(x0: Tensor, tokens: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        hidden = model.text(tokens).last_hidden_state
        return ddpm.ddpm_step(
            lambda x, at: model.unet(x, at, hidden, return_dict=False)[0], x0, noise, t, alpha_bar
        )

    saved = sampled = clock.spent
    levels = LevelLoss()
    begun, first, warm_at = clock.spent, step, step + 5
    while clock.progress < 1:
        batch = corpus.draw(config.batch, config.caption_dropout)
        x0 = batch.latents.contiguous(memory_format=torch.channels_last)
        t = ddpm.uniform_timesteps(config.batch, ddpm.STEPS)
        errors = row_errors(x0, batch.tokens, torch.randn_like(x0), t)
        (errors * weights[t]).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        share = common.cosine(clock.progress, config.warmup)
        optimizers.step(share)
        step += 1
        update_ema(average, model, ema_decay(step, config.ema_power))
        levels.add(t, errors)
        if step == warm_at:
            begun, first = clock.spent, step
        if step % 50 == 0:
            speed = config.batch * (step - first) / (clock.spent - begun)
            common.log.info(
                "step %d rate %.2f %.1f rows/s loss by level %s",
                *(step, share, speed, levels.report()),
            )
        done = clock.progress >= 1
        if done or clock.spent - saved > config.checkpoint_minutes * 60:
            saved = clock.spent
            tensors = common.prefixed("model", model.state_dict())
            tensors |= common.prefixed("average", average.state_dict())
            tensors |= optimizers.tensors()
            common.save_checkpoint(path, tensors, {"step": step, "spent": clock.spent})
        if done or clock.spent - sampled > config.sample_minutes * 60:
            sampled = clock.spent
            grid = sample_grid(average.unet, average.text, corpus.tokenizer, corpus.latents.vae)
            grid.save(folder / f"samples-{step:06d}.png")
    return path


def main() -> None:
    """The command line of this stage."""
    parser = common.stage_parser(__doc__, Config.minutes)
    parser.add_argument("--concepts", type=int, default=Config.concepts, help="only the first N")
    args = parser.parse_args()
    train(Config(minutes=args.minutes, concepts=args.concepts), args.cache, args.resume)


if __name__ == "__main__":
    main()
