"""Stage: train the UNet and the text encoder on composed scenes of 256 px.

    python -m training.stages.composed --minutes 480 [--resume] [--settled 0.7] [--name composed]

Starts with what the shipped model knows: its inner levels and text encoder (`enlarged`), a new
outer level fitted to them (`alignment`), on the shipped encoder's latents. Scenes are drawn as the
run goes (`scene_pool`); a share of them is `settled`, so that words go on meaning what they meant.
The rates follow the clock over all `--minutes`; a run may be stopped at any time and goes on from
its last checkpoint with `--resume`, for longer where more minutes are given.
`python -m training.evaluation.composed_sheet --name composed` draws what it can so far.
`training/data/README.md` says how far a run came and what is left.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training.data.bank import load_bank
from training.data.composition import Composer, Shares
from training.data.scene_pool import Pool, fast_encoder
from training.data.tokenizer import tokenize
from training.optim import ddpm, stage
from training.optim.checkpoint import load_checkpoint, save_checkpoint
from training.optim.optimizers import Optimizers
from training.optim.run_folder import log, stage_parser
from training.stages.alignment import align, fit_exit, shipped_times
from training.stages.enlarged import CHANNELS, build_enlarged, longer_text, take_shipped
from training.stages.samples import generate, make_pipeline, tile
from training.stages.shipped import SiblingConfig, load_shipped
from training.stages.unet import Config as RateConfig
from training.stages.unet import LevelLoss, Model, make_optimizers

# Of ᾱ at the last step: pictures of four times as many latents need a quarter of today's signal
# there, or the noise never hides what the whole picture's mean colour is (arXiv:2301.11093).
BETA_END = 0.0155
# Of one worker, in a step: early on many steps teach more than many rows.
ROWS = 32
ALIGNMENT_STREAM = 90
ALIGNMENT_SCENES = 384
PROMPTS = (
    "two apples", "a cat left of a house", "a blue apple", "three lemons", "a castle at night",
    "a cat wearing a hat", "an apple and a banana", "a small apple", "an apple on the left",
    "a dog in the snow, flat style", "a red car on a street", "a cat",
)  # fmt: skip


@dataclass(frozen=True)
class Config(SiblingConfig):
    """Configuration of this stage's run.

    Args:
        matrix_rate, rate: half of those the shipped UNet was trained with from nothing.
        concepts: comma-separated labels to draw, all if "".
        fresh: share of new scenes in a batch.
        capacity: scenes that each worker keeps.
        text_rate: of the UNet's rates, for the text encoder.
        noisy_boost: see `ddpm.noise_weight`; so large, every noise level counts about equally, as
            Karras et al. 2024 have it (arXiv:2312.02696), and the caption's part is not lost.
        vae: folder of the autoencoder, the shipped model's own if "".
        settled: see `composition.Shares`.
        name: of the run's folder in the cache.
    """

    minutes: float = 480.0
    checkpoint_minutes: float = 8.0
    concepts: str = ""
    fresh: float = 0.15
    capacity: int = 24_000
    start: int = 256
    matrix_rate: float = 0.01
    rate: float = 5e-4
    text_rate: float = 0.1
    weight_decay: float = 0.01
    caption_dropout: float = 0.1
    gamma: float = 5.0
    noisy_boost: float = 10.0
    warmup: float = 0.01
    beta_end: float = BETA_END
    settled: float = 0.3
    name: str = "composed"
    vae: str = ""


class ComposedTask(stage.Task):
    """Training task: noise on composed scenes' latents, told by their captions."""

    def __init__(self, config: Config, cache: Path, stream: tuple[int, ...]) -> None:
        self._config, self._cache = config, cache
        self._vae = load_vae(config.vae or f"{config.model}/vae")
        self._parts, self._tokenizer, self._fresh = build_parts(config, self._vae)
        # On the CPU plain products beat the fused attention's backward pass by a fifth of a step.
        self._parts.unet.set_attn_processor(AttnProcessor())
        self.model: nn.Module = self._parts
        self._alpha_bar = ddpm.alphas_cumprod(end=config.beta_end)
        self._weights = ddpm.noise_weight(self._alpha_bar, config.gamma, config.noisy_boost)
        self._levels = LevelLoss()
        if stream:
            rank, step = stream
            rng = np.random.default_rng((config.seed, 3, rank, step))
            labels = tuple(config.concepts.split(",")) if config.concepts else None
            composer = Composer(load_bank(cache), labels, Shares(settled=config.settled))
            folder = cache / config.name / f"pool-{rank}"
            encoder = fast_encoder(self._vae)
            self._pool = Pool(folder, composer, encoder, rank, config.capacity, rng)

    def begin(self, folder: Path, resume: bool) -> None:
        """The new outer level fitted to the inner ones (`alignment`), once for all runs."""
        log.info("%d parameters start without the shipped weights", len(self._fresh))
        shared = self._cache / "alignment"
        kept = shared / "unet.safetensors"
        if kept.exists():
            self._parts.unet.load_state_dict(load_checkpoint(kept)[0])
            return
        rng, encoder = np.random.default_rng((self._config.seed, 4)), fast_encoder(self._vae)
        composer = Composer(load_bank(self._cache))
        pool = Pool(shared, composer, encoder, ALIGNMENT_STREAM, ALIGNMENT_SCENES, rng)
        if not len(pool):
            pool.fill(ALIGNMENT_SCENES)
        shipped = load_shipped(self._config.model).unet
        align(self._parts.unet, shipped, lambda n: pool.draw(n, 0).latents, self._alpha_bar)

        @torch.no_grad()
        def told(count: int) -> tuple[Tensor, Tensor]:
            rows = pool.draw(count, 0, self._config.caption_dropout)
            tokens = tokenize(self._tokenizer, rows.captions)
            return rows.latents, self._parts.text(tokens).last_hidden_state

        fit_exit(self._parts.unet, told, self._alpha_bar, self._weights)
        save_checkpoint(kept, self._parts.unet.state_dict(), {})

    def loss(self) -> Tensor:
        """The weighted error of this worker's rows."""
        config = self._config
        while self._pool.made < config.start:
            self._pool.fill(32)
        count = config.batch // config.workers
        rows = self._pool.draw(count, round(count * config.fresh), config.caption_dropout)
        hidden = self._parts.text(tokenize(self._tokenizer, rows.captions)).last_hidden_state
        t = ddpm.uniform_timesteps(count, ddpm.STEPS)
        errors = ddpm.ddpm_step(
            lambda x, at: self._parts.unet(x.bfloat16(), at, hidden, return_dict=False)[0].float(),
            *(rows.latents, torch.randn_like(rows.latents), t, self._alpha_bar),
        )
        self._levels.add(t, errors)
        return (errors * self._weights[t]).mean()

    def note(self) -> str:
        """The scenes this worker has made, and the errors by noise level."""
        return f"scenes {self._pool.made} by level {self._levels.report()}"

    def make_optimizers(self, masters: dict[str, Tensor]) -> Optimizers:
        """Muon for matrices, AdamW for the rest."""
        config = self._config
        rates = RateConfig(
            matrix_rate=config.matrix_rate,
            rate=config.rate,
            text_rate=config.text_rate,
            weight_decay=config.weight_decay,
        )
        return make_optimizers(masters, rates)

    def show(self, average: dict[str, Tensor], folder: Path, step: int) -> None:
        """Three seeds of some prompts, drawn with the average."""
        with torch.autocast("cpu", torch.bfloat16):
            picture = sample_sheet(
                average, self._config, self._vae, 3, prompts=PROMPTS[:8], steps=12
            )
        picture.save(folder / f"samples-{step:06d}.jpg")


def load_vae(folder: str) -> AutoencoderKL:
    """An autoencoder to use, float32."""
    vae = AutoencoderKL.from_pretrained(folder, use_safetensors=True)
    loaded: AutoencoderKL = vae.float().eval().requires_grad_(False)
    return loaded


def build_parts(config: Config, vae: AutoencoderKL) -> tuple[Model, CLIPTokenizer, list[str]]:
    """The model with what the shipped one knows, its tokenizer, and the parameters left alone."""
    shipped = load_shipped(config.model)
    text, tokenizer = longer_text(shipped.text_encoder, shipped.tokenizer)
    side = 256 // 2 ** (len(vae.config.block_out_channels) - 1)
    channels = CHANNELS if side == 32 else CHANNELS[1:]
    unet = build_enlarged(vae.config.latent_channels, side, channels)
    ours, theirs = ddpm.alphas_cumprod(end=config.beta_end), ddpm.alphas_cumprod()
    times = shipped_times(ours, theirs) if side == 32 else torch.arange(ddpm.STEPS)
    fresh = take_shipped(unet, shipped.unet, times)
    return Model(unet, text), tokenizer, fresh


def composed_pipeline(
    model: Model, tokenizer: CLIPTokenizer, vae: AutoencoderKL, config: Config
) -> StableDiffusionPipeline:
    """The parts as a pipeline, with this stage's noise levels."""
    pipeline = make_pipeline(model.unet.eval(), model.text.eval(), tokenizer, vae)
    pipeline.scheduler = DDIMScheduler.from_config(
        pipeline.scheduler.config, beta_end=config.beta_end
    )
    return pipeline


def sample_sheet(
    weights: dict[str, Tensor],
    config: Config,
    vae: AutoencoderKL,
    seeds: int = 6,
    guidance_scale: float = 3.0,
    prompts: tuple[str, ...] = PROMPTS,
    steps: int = 20,
) -> Image.Image:
    """A row a prompt, a column a seed."""
    model, tokenizer, _ = build_parts(config, vae)
    model.load_state_dict(weights)
    pipeline = composed_pipeline(model, tokenizer, vae, config)
    pictures = []
    for prompt in prompts:
        pictures += generate(
            pipeline, [prompt] * seeds, steps=steps, guidance_scale=guidance_scale, batch=seeds
        )
    return tile(pictures, seeds)


def main() -> None:
    """The command line of this stage."""
    parser = stage_parser(__doc__, Config.minutes)
    parser.add_argument("--workers", type=int, default=Config.workers)
    parser.add_argument("--concepts", default="")
    parser.add_argument("--settled", type=float, default=Config.settled)
    parser.add_argument("--name", default=Config.name, help="of the folder in the cache")
    args = parser.parse_args()
    config = Config(
        minutes=args.minutes,
        workers=args.workers,
        batch=ROWS * args.workers,
        concepts=args.concepts,
        settled=args.settled,
        name=args.name,
    )
    stage.train(config.name, ComposedTask, config, args.cache, args.resume)


if __name__ == "__main__":
    main()
