"""Stage 2: the UNet and the text encoder, trained together on cached latents.

    python -m training.unet --minutes 80 [--resume]

The schedule follows the clock, not a step count. Checkpoints hold the weights, their moving
average and the optimizer; `samples-*.png` are drawn with the average as the run goes.
Source: Ho et al. 2020, arXiv:2006.11239; Rombach et al. 2022, arXiv:2112.10752.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from training.lexicon import Lexicon, with_near_words
from training.muon import Muon, split_named
from training.sampling import sample_grid
from training.shipped import load_shipped
from training.team import WORKERS, Memory, Worker, views
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
    vocabulary: int = 10000
    words: int = 45000
    concepts: int = 10_000
    batch: int = 128
    matrix_rate: float = 0.02
    rate: float = 1e-3
    text_rate: float = 0.02
    text_minutes: float = 6.0
    warmup: float = 0.03
    weight_decay: float = 0.01
    caption_dropout: float = 0.1
    gamma: float = 5.0
    noisy_boost: float = 3.0
    ema_power: float = 12.0
    scene_share: float = 0.2
    seed: int = 0
    minutes: float = 80.0
    checkpoint_minutes: float = 6.0
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


def ema_decay(step: int, power: float) -> float:
    """The decay of an average over the last ~1/power of the run, however long it is.

    Math: β_t = (1 − 1/t)^(power + 1)
    Source: Karras et al. 2024, Eq. 127, arXiv:2312.02696.
    """
    return float((1 - 1 / max(step, 2)) ** (power + 1))


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


def make_optimizers(masters: dict[str, Tensor], config: Config) -> common.Optimizers:
    """Muon for matrices, AdamW for the rest; the text encoder learns at a share of the rates.

    Args:
        masters: parameters by their names in `Model`.
    """
    muon, adam = [], []
    for part, share in (("unet", 1.0), ("text", config.text_rate)):
        own = {name: p for name, p in masters.items() if name.startswith(part + ".")}
        matrices, others = split_named(own.items(), BY_ELEMENT)
        muon.append({"params": matrices, "lr": config.matrix_rate * share})
        adam.append({"params": others, "lr": config.rate * share})
    decay = config.weight_decay
    return common.Optimizers(
        Muon([group for group in muon if group["params"]], weight_decay=decay),
        torch.optim.AdamW(
            [group for group in adam if group["params"]],
            betas=(0.9, 0.99), weight_decay=decay, fused=True,
        ),
    )  # fmt: skip


def read_fields(folder: Path) -> dict[str, Any]:
    """A stage's Config as the run saved it in `folder/config.json`, by the fields' names."""
    fields: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return {k: tuple(value) if isinstance(value, list) else value for k, value in fields.items()}


def read_config(folder: Path) -> Config:
    """The UNet stage's Config."""
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
        common.save_checkpoint(path, text.state_dict(), {})
    return common.load_checkpoint(path)[0]


def train(config: Config, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` and return the checkpoint's path."""
    folder = cache / "unet"
    common.start_log(folder, "unet")
    common.save_config(config, folder)
    torch.manual_seed(config.seed)
    data = prepare(config, cache)
    model = build_model(config, len(data.corpus.tokenizer))
    path = folder / "checkpoint.safetensors"
    state = {"step": 0, "spent": 0.0}
    tensors: dict[str, Tensor] = {}
    if resume and path.exists():
        tensors, state = common.load_checkpoint(path)
        model.load_state_dict(common.part(tensors, "model"))
        common.log.info("resumed at step %d, %.0f s spent", state["step"], state["spent"])
    elif config.start:
        parts = load_shipped(config.start)
        model.unet.load_state_dict(parts.unet.state_dict())
        model.text.load_state_dict(parts.text_encoder.state_dict())
    else:
        model.text.load_state_dict(taught_text(config, data, folder, resume))
    common.log.info("%.2fM parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    context = torch.multiprocessing.get_context("spawn")
    memory = Memory.of(model, context)
    for name, value in views(memory.average, model).items():
        if tensors:
            value.copy_(tensors[f"average.{name}"])
    others = [
        context.Process(target=work, args=(rank, memory, config, cache, state), daemon=True)
        for rank in range(1, WORKERS)
    ]
    for other in others:
        other.start()
    work(0, memory, config, cache, state)
    for other in others:
        other.join()
    return path


def work(rank: int, memory: Memory, config: Config, cache: Path, state: dict[str, Any]) -> None:
    """What each of the processes does, until worker 0's clock has run out."""
    torch.set_num_threads(1)
    folder = cache / "unet"
    if rank > 0:
        common.start_log(folder / f"worker-{rank}", "unet")
    step = int(state["step"])
    torch.manual_seed((config.seed << 8) + rank + 1000 * step)
    data = prepare(config, cache, stream=(rank, step))
    corpus = data.corpus
    model = build_model(config, len(corpus.tokenizer))
    worker = Worker(rank, memory, model, lambda masters: make_optimizers(masters, config))
    kept = folder / f"optimizer-{rank}.safetensors"
    if step and kept.exists():
        worker.optimizers.restore(common.load_checkpoint(kept)[0])
    alpha_bar = ddpm.alphas_cumprod()
    weights = ddpm.noise_weight(alpha_bar, config.gamma, config.noisy_boost)
    rows = config.batch // WORKERS

    def row_errors(x0: Tensor, tokens: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        hidden = model.text(tokens).last_hidden_state
        return ddpm.ddpm_step(
            lambda x, at: model.unet(x.bfloat16(), at, hidden, return_dict=False)[0].float(),
            *(x0, noise, t, alpha_bar),
        )

    clock = common.Clock(config.minutes, float(state["spent"]))
    keeper = Keeper(config, folder, memory, corpus, clock)
    done = False
    while not done:
        batch = corpus.draw(rows, config.caption_dropout)
        t = ddpm.uniform_timesteps(rows, ddpm.STEPS)
        errors = row_errors(batch.latents, batch.tokens, torch.randn_like(batch.latents), t)
        (errors * weights[t]).mean().backward()
        if rank == 0:
            progress = clock.progress
            share = common.cosine(progress, config.warmup)
            memory.signals.copy_(torch.tensor([share, keeper.due(progress), progress >= 1]))
            keeper.levels.add(t, errors)
        worker.wait()
        share, saving, last = memory.signals.tolist()
        done = bool(last)
        step += 1
        worker.step(share, ema_decay(step, config.ema_power))
        if rank == 0:
            keeper.report(step, share)
        if saving or done:
            if rank == 0:
                keeper.save(step, model, sampling=True)
            common.save_checkpoint(kept, worker.optimizers.tensors(), {"step": step})
            worker.wait()


class Keeper:
    """Worker 0's books: the log, checkpoints, samples."""

    def __init__(
        self, config: Config, folder: Path, memory: Memory, corpus: Corpus, clock: common.Clock
    ) -> None:
        self.levels = LevelLoss()
        self._config, self._folder, self._memory = config, folder, memory
        self._corpus, self._clock = corpus, clock
        self._saved = self._seen = clock.spent
        self._first = 0

    def due(self, progress: float) -> bool:
        """Whether it is time for a checkpoint."""
        return self._clock.spent - self._saved > self._config.checkpoint_minutes * 60

    def report(self, step: int, share: float) -> None:
        """Every 50 steps, a line on the errors and the speed since the last one."""
        if step % 50 == 0:
            now = self._clock.spent
            speed = self._config.batch * (step - self._first) / max(now - self._seen, 1e-9)
            self._first, self._seen = step, now
            common.log.info(
                "step %d rate %.2f %.1f rows/s loss by level %s",
                *(step, share, speed, self.levels.report()),
            )

    def save(self, step: int, model: Model, sampling: bool) -> None:
        """Masters and averages to disk, and what the average draws."""
        self._saved = self._clock.spent
        masters = views(self._memory.masters, model)
        average = views(self._memory.average, model)
        tensors = common.prefixed("model", masters) | common.prefixed("average", average)
        state = {"step": step, "spent": self._clock.spent}
        common.save_checkpoint(self._folder / "checkpoint.safetensors", tensors, state)
        if sampling:
            drawn = build_model(self._config, len(self._corpus.tokenizer))
            drawn.load_state_dict(average)
            parts = (drawn.unet, drawn.text, self._corpus.tokenizer, self._corpus.latents.vae)
            sample_grid(*parts).save(self._folder / f"samples-{step:06d}.png")


def main() -> None:
    """The command line of this stage."""
    parser = common.stage_parser(__doc__, Config.minutes)
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
    train(config, args.cache, args.resume)


if __name__ == "__main__":
    main()
