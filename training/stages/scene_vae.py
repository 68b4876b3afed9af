"""Stage: train the autoencoder on composed scenes of 256 px.

    python -m training.stages.scene_vae --minutes 30 --shape 8x4 [--decoder-only] [--resume]

Starts with the frozen autoencoder's weights; with `--decoder-only` with the shipped one, whose
latents stay what a UNet has learnt. Small things are the hard part, so most steps see
crops around a thing. For some steps the latents are mirrored, turned or shrunk, and the decoder
has to draw the picture so: latents that behave like pictures are denoised more easily.
Source: Kouzelis et al. 2025, arXiv:2502.09509.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data.backdrops import SIZE
from training.data.bank import load_bank
from training.data.canvas import draw_scene
from training.data.composition import Composer
from training.data.latents import fold_normalisation
from training.optim import loop
from training.optim.checkpoint import load_checkpoint, unprefixed
from training.optim.optimizers import muon_and_adam
from training.optim.run_folder import log, open_run, stage_parser
from training.optim.schedule import RunConfig
from training.stages.decoder import FROZEN
from training.stages.vae import BY_ELEMENT, build_vae, gradient_loss
from training.stages.vae import Config as VaeConfig

# Scenes from this stream are never drawn for training.
HELD_OUT_STREAM = 77
SHIPPED_VAE = Path("models/emoji/vae")
SHAPES: dict[str, tuple[tuple[int, ...], int]] = {
    "8x4": ((16, 32, 64, 128), 4),
    "16x8": ((16, 32, 64, 128, 128), 8),
    "16x16": ((16, 32, 64, 128, 128), 16),
}


@dataclass(frozen=True)
class Config(RunConfig):
    """Configuration of this stage's run.

    Args:
        shape: a key of `SHAPES`: the factor and the latent channels.
        decoder_only: whether the shipped encoder stays as it is.
        crop: side of the crops.
        whole_share: of the steps, with whole pictures.
        around: share of crops centred on a thing.
        moved: share of steps whose latents are mirrored, turned or shrunk.
    """

    shape: str = "8x4"
    decoder_only: bool = False
    crop: int = 128
    crop_batch: int = 8
    whole_batch: int = 2
    whole_share: float = 0.3
    around: float = 0.7
    moved: float = 0.35
    matrix_rate: float = 0.003
    rate: float = 3e-4
    warmup: float = 0.03
    gradient_weight: float = 1.0
    kl_weight: float = 1e-6
    seed: int = 5
    minutes: float = 30.0
    checkpoint_minutes: float = 3.0


def _deeper(name: str) -> str | None:
    """The frozen autoencoder's parameter for one of an autoencoder with a level more."""
    parts = name.split(".")
    if parts[:2] == ["decoder", "up_blocks"]:
        level = int(parts[2]) - 1
        return None if level < 0 else ".".join([*parts[:2], str(level), *parts[3:]])
    return name


@torch.no_grad()
def build_scene_vae(shape: str) -> AutoencoderKL:
    """The autoencoder of a shape with the frozen one's weights wherever they fit.

    Raises: KeyError: if the shape is unknown.
    """
    channels, latent = SHAPES[shape]
    vae = build_vae(VaeConfig(channels=channels, latent_channels=latent))
    vae.register_to_config(sample_size=SIZE)
    kept = unprefixed(load_checkpoint(FROZEN)[0], "vae")
    same = len(channels) == len(SHAPES["8x4"][0])
    for name, own in vae.state_dict().items():
        other = kept.get(name if same else _deeper(name) or "")
        if other is not None and other.shape == own.shape:
            own.copy_(other)
    return vae


class SceneCrops:
    """Pictures of composed scenes, whole or cut around a thing."""

    def __init__(self, composer: Composer, stream: int, first: int, config: Config) -> None:
        self._composer, self._config = composer, config
        self._stream, self.number = stream, first
        self._rng = np.random.default_rng((config.seed, stream, first))

    def whole(self) -> tuple[NDArray[np.uint8], tuple[float, float]]:
        """The next scene's picture, and the middle of one of its things."""
        scene = self._composer.scene((self._stream, self.number))
        self.number += 1
        box = scene.things[int(self._rng.integers(len(scene.things)))].box
        return draw_scene(self._composer.bank, scene).pixels, (box.x * SIZE, box.y * SIZE)

    def batch(self) -> Tensor:
        """Pixels for a step, (B, 3, side, side) float32 in −1..1."""
        config, rng = self._config, self._rng
        if rng.random() < config.whole_share:
            found = [self.whole()[0] for _ in range(config.whole_batch)]
        else:
            found = []
            for _ in range(config.crop_batch):
                picture, (x, y) = self.whole()
                if rng.random() >= config.around:
                    x, y = rng.uniform(0, SIZE, 2)
                shift = rng.uniform(-0.3, 0.3, 2) * config.crop
                left, top = (
                    int(np.clip(v + s - config.crop / 2, 0, SIZE - config.crop))
                    for v, s in zip((x, y), shift, strict=True)
                )
                found.append(picture[top : top + config.crop, left : left + config.crop])
        pixels = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return pixels.contiguous(memory_format=torch.channels_last)


def moved(image: Tensor, way: int) -> Tensor:
    """The picture or its latents turned by a quarter, half, mirrored or shrunk to half."""
    if way == 3:
        return F.interpolate(image, scale_factor=0.5, mode="bilinear", antialias=True)
    return image.flip(3) if way == 2 else image.rot90(way + 1, (2, 3))


def scene_loss(vae: AutoencoderKL, pixels: Tensor, way: int | None, config: Config) -> Tensor:
    """|x̂ − x| + (x̂ − x)² + w_g·|∇x̂ − ∇x| + w_kl·KL, x̂ and x both moved if `way` says how."""
    with torch.autocast("cpu", torch.bfloat16):
        mean, logvar = vae.quant_conv(vae.encoder(pixels)).float().chunk(2, dim=1)
        logvar = logvar.clamp(-30.0, 20.0)
        latent = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        wanted = pixels
        if way is not None:
            latent, wanted = moved(latent, way), moved(pixels, way)
        output = vae.decoder(vae.post_quant_conv(latent)).float()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(dim=(1, 2, 3)).mean()
    loss: Tensor = F.l1_loss(output, wanted) + F.mse_loss(output, wanted) + config.kl_weight * kl
    return loss + config.gradient_weight * gradient_loss(output, wanted)


@torch.no_grad()
def held_out_psnr(vae: AutoencoderKL, crops: SceneCrops, count: int = 48) -> tuple[float, float]:
    """Mean PSNR in dB of whole held-out scenes, and that of their mean squared error."""
    crops.number = 0
    errors = []
    for _ in range(count):
        pixels = torch.from_numpy(crops.whole()[0]).permute(2, 0, 1)[None].float()
        with torch.autocast("cpu", torch.bfloat16):
            output = vae.decode(vae.encode(pixels / 127.5 - 1).latent_dist.mode()).sample
        picture = ((output.float() + 1) * 127.5).clamp(0, 255).round()
        errors.append(float((picture - pixels).square().mean()))
    each = 10 * np.log10(255**2 / np.array(errors))
    return float(each.mean()), float(10 * np.log10(255**2 / np.mean(errors)))


def train(config: Config, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` and return the folder of the autoencoder."""
    folder = cache / "scene-vae" / ("decoder" if config.decoder_only else config.shape)
    open_run(folder, "scene-vae", config)
    torch.set_num_threads(1)
    path = folder / "checkpoint.safetensors"
    start = loop.start_of(path, resume)
    vae = (
        AutoencoderKL.from_pretrained(SHIPPED_VAE, use_safetensors=True)
        if config.decoder_only
        else build_scene_vae(config.shape)
    )
    vae = vae.requires_grad_(False).to(memory_format=torch.channels_last)
    learns = nn.ModuleDict({"decoder": vae.decoder, "post": vae.post_quant_conv})
    if not config.decoder_only:
        learns.update({"encoder": vae.encoder, "quant": vae.quant_conv})
    learns.requires_grad_(True)
    torch.manual_seed(config.seed + start.step)
    composer = Composer(load_bank(cache))
    crops = SceneCrops(composer, 50 + config.seed, start.step * config.crop_batch, config)
    unseen = SceneCrops(composer, HELD_OUT_STREAM, 0, config)
    rng = np.random.default_rng((config.seed, start.step))

    def loss(_: float) -> Tensor:
        turns = not config.decoder_only and rng.random() < config.moved
        return scene_loss(vae, crops.batch(), int(rng.integers(4)) if turns else None, config)

    def measure() -> dict[str, float]:
        each, together = held_out_psnr(vae, unseen)
        return {"psnr_db": each, "psnr_of_mean_error_db": together}

    if not start.tensors:
        log.info("before: %s", measure())
    optimizers = muon_and_adam(
        learns.named_parameters(), BY_ELEMENT, config.matrix_rate, config.rate
    )
    loop.train(
        loop.Learner(learns, optimizers, loss, measure, prefix="", clip=1.0), config, path, start
    )
    if not config.decoder_only:
        fold_statistics(vae, composer)
    vae.to(memory_format=torch.contiguous_format).eval()
    vae.save_pretrained(folder / "diffusers", safe_serialization=True)
    return folder / "diffusers"


@torch.no_grad()
def fold_statistics(vae: AutoencoderKL, composer: Composer, count: int = 64) -> None:
    """Make the latents of scenes zero-mean with unit variance, changing no picture."""
    crops = SceneCrops(composer, HELD_OUT_STREAM, 1000, Config())
    found = []
    for _ in range(count):
        pixels = torch.from_numpy(crops.whole()[0]).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            found.append(vae.encode(pixels).latent_dist.mode().float())
    channels = torch.cat(found).movedim(1, 0).flatten(1)
    log.info("latent mean %s std %s", channels.mean(1).tolist(), channels.std(1).tolist())
    fold_normalisation(vae, channels.mean(1), channels.std(1))


def main() -> None:
    """The command line of this stage."""
    parser = stage_parser(__doc__, Config.minutes)
    parser.add_argument("--shape", choices=list(SHAPES), default=Config.shape)
    parser.add_argument("--decoder-only", action="store_true")
    args = parser.parse_args()
    config = Config(minutes=args.minutes, shape=args.shape, decoder_only=args.decoder_only)
    train(config, args.cache, args.resume)


if __name__ == "__main__":
    main()
