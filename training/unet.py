"""Stage 2: the UNet and the text encoder, trained together on cached latents.

    python -m training.unet --minutes 80 [--resume]

The schedule follows the clock, not a step count. Checkpoints hold the weights, their moving
average and the optimizer; `samples-*.png` are drawn with the average as the run goes.
Source: Ho et al. 2020, arXiv:2006.11239; Rombach et al. 2022, arXiv:2112.10752.
"""

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from training import common, ddpm
from training.data.captions import BACKGROUND_NAMES, Wording, all_phrases, caption
from training.data.concepts import Concept, load_concepts
from training.data.drawings import STYLES, load_drawings
from training.data.sources import cache_dir
from training.decoder import load_vae
from training.latents import Latents, prepare_latents
from training.sampling import sample_grid
from training.text import MAX_TOKENS, build_text_encoder, learn_tokenizer
from training.text_pretraining import teach_text

LEVELS = 10


@dataclass(frozen=True)
class Config:
    """Everything that decides the run, apart from the machine's speed."""

    channels: tuple[int, ...] = (64, 128, 256)
    heads: int = 4
    text_hidden: int = 256
    text_layers: int = 2
    vocabulary: int = 2500
    batch: int = 64
    peak_rate: float = 1e-3
    text_rate: float = 0.2
    text_minutes: float = 3.0
    final_rate: float = 1e-5
    warmup: float = 0.03
    weight_decay: float = 0.01
    caption_dropout: float = 0.1
    gamma: float = 5.0
    noisy_boost: float = 3.0
    ema_power: float = 12.0
    style_shares: tuple[float, ...] = (0.4, 0.3, 0.3)
    white_share: float = 0.4
    seed: int = 0
    minutes: float = 80.0
    checkpoint_minutes: float = 4.0
    sample_minutes: float = 8.0
    compile: bool = False


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


@dataclass(frozen=True)
class Batch:
    """Rows for one training step."""

    latents: Tensor
    tokens: Tensor


def draw_batch(
    values: Tensor,
    concepts: list[Concept],
    tokenizer: CLIPTokenizer,
    rng: np.random.Generator,
    config: Config,
    order: NDArray[np.int64],
) -> Batch:
    """Random styles, backgrounds and captions for the concepts in `order`.

    Returns: latents (B, 4, 16, 16) float32 and tokens (B, MAX_TOKENS) int64.
    """
    wording = Wording()
    whites = (config.white_share, *[(1 - config.white_share) / 8] * 8)
    styles = rng.choice(len(STYLES), len(order), p=config.style_shares)
    backgrounds = rng.choice(len(BACKGROUND_NAMES), len(order), p=whites)
    captions = [
        ""
        if rng.random() < config.caption_dropout
        else caption(concepts[c], STYLES[s], BACKGROUND_NAMES[b], wording, rng)
        for c, s, b in zip(order, styles, backgrounds, strict=True)
    ]
    tokens = tokenizer(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    latents = values[torch.from_numpy(order), torch.from_numpy(styles), backgrounds].float()
    return Batch(latents, tokens.input_ids)


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


def prepare(config: Config, cache: Path) -> tuple[Latents, list[Concept], CLIPTokenizer]:
    """The latents, the concepts and the tokenizer, made or read from the cache."""
    drawings = load_drawings(cache)
    concepts = load_concepts(drawings.names)
    latents = prepare_latents(load_vae(cache), drawings, concepts, cache / "unet")
    tokenizer = learn_tokenizer(all_phrases(concepts, 10, config.seed), config.vocabulary)
    return latents, concepts, tokenizer


def train(config: Config, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` and return the checkpoint's path."""
    folder = cache / "unet"
    common.start_log(folder, "unet")
    common.save_config(config, folder)
    torch.manual_seed(config.seed)
    latents, concepts, tokenizer = prepare(config, cache)
    text = build_text_encoder(len(tokenizer), config.text_hidden, config.text_layers)
    path = folder / "checkpoint.safetensors"
    resume = resume and path.exists()
    if not resume:
        teach_text(text, tokenizer, latents.values, concepts, config.text_minutes, config.seed)
    model = Model(build_unet(config), text).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).requires_grad_(False)
    common.log.info("%.2fM parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    optimizer = torch.optim.AdamW(
        [{"params": model.unet.parameters()}, {"params": model.text.parameters()}],
        lr=0.0,
        betas=(0.9, 0.99),
        weight_decay=config.weight_decay,
        fused=True,
    )
    step, clock = 0, common.Clock(config.minutes)
    if resume:
        tensors, state = common.load_checkpoint(path)
        model.load_state_dict(common.part(tensors, "model"))
        average.load_state_dict(common.part(tensors, "average"))
        common.restore_optimizer(optimizer, tensors)
        step, clock = state["step"], common.Clock(config.minutes, state["spent"])
        common.log.info("resumed at step %d, %.0f s spent", step, clock.spent)
    alpha_bar = ddpm.alphas_cumprod()
    weights = ddpm.noise_weight(alpha_bar, config.gamma, config.noisy_boost)

    def row_errors(x0: Tensor, tokens: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        hidden = model.text(tokens).last_hidden_state
        return ddpm.ddpm_step(
            lambda x, at: model.unet(x, at, hidden, return_dict=False)[0], x0, noise, t, alpha_bar
        )

    step_fn = torch.compile(row_errors, dynamic=False) if config.compile else row_errors
    rng = np.random.default_rng((config.seed, step))
    saved = sampled = clock.spent
    levels, queue = LevelLoss(), np.empty(0, np.int64)
    begun, first, warm_at = clock.spent, step, step + 5
    while clock.progress < 1:
        rate = common.cosine(clock.progress, config.warmup, config.peak_rate, config.final_rate)
        for group, share in zip(optimizer.param_groups, (1.0, config.text_rate), strict=True):
            group["lr"] = rate * share
        if len(queue) < config.batch:
            queue = np.concatenate([queue, rng.permutation(len(concepts))])
        order, queue = queue[: config.batch], queue[config.batch :]
        batch = draw_batch(latents.values, concepts, tokenizer, rng, config, order)
        x0 = batch.latents.contiguous(memory_format=torch.channels_last)
        t = ddpm.uniform_timesteps(config.batch, ddpm.STEPS)
        errors = step_fn(x0, batch.tokens, torch.randn_like(x0), t)
        (errors * weights[t]).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        update_ema(average, model, ema_decay(step, config.ema_power))
        levels.add(t, errors)
        if step == warm_at:
            begun, first = clock.spent, step
        if step % 50 == 0:
            speed = config.batch * (step - first) / (clock.spent - begun)
            common.log.info(
                "step %d rate %.1e %.1f rows/s loss by level %s",
                *(step, rate, speed, levels.report()),
            )
        done = clock.progress >= 1
        if done or clock.spent - saved > config.checkpoint_minutes * 60:
            saved = clock.spent
            tensors = common.prefixed("model", model.state_dict())
            tensors |= common.prefixed("average", average.state_dict())
            tensors |= common.optimizer_tensors(optimizer)
            common.save_checkpoint(path, tensors, {"step": step, "spent": clock.spent})
        if done or clock.spent - sampled > config.sample_minutes * 60:
            sampled = clock.spent
            grid = sample_grid(average.unet, average.text, tokenizer, latents.vae)
            grid.save(folder / f"samples-{step:06d}.png")
    return path


def main() -> None:
    """The command line of this stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=Config.minutes)
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile the step")
    args = parser.parse_args()
    train(Config(minutes=args.minutes, compile=args.compile), args.cache, args.resume)


if __name__ == "__main__":
    main()
