"""Stage 1: train the autoencoder, 128×128×3 pixels to 16×16×4 latents and back.

    python -m training.stages.vae --minutes 45 [--resume]

Loss: L1 + L2 + gradient L1 + a tiny KL term; the schedule follows the clock, not a step count.
Source: Kingma & Welling 2013, arXiv:1312.6114; Rombach et al. 2022, arXiv:2112.10752.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from training.data.colours import WHITE
from training.data.drawings import SIZE, Drawings, compose, load_drawings
from training.data.pictures import Mixture, Pictures
from training.data.scenes import load_scenes
from training.optim import loop
from training.optim.optimizers import muon_and_adam
from training.optim.run_folder import open_run, run_stage
from training.optim.schedule import RunConfig

BY_ELEMENT = ("conv_in", "conv_out", "quant_conv")


@dataclass(frozen=True)
class Config(RunConfig):
    """Configuration of this stage's run."""

    channels: tuple[int, ...] = (16, 32, 64, 128)
    latent_channels: int = 4
    norm_groups: int = 8
    batch: int = 8
    crop: int = 64
    crop_batch: int = 16
    crop_share: float = 0.45
    matrix_rate: float = 0.02
    rate: float = 2e-3
    warmup: float = 0.02
    gradient_weight: float = 1.0
    kl_weight: float = 1e-6
    seed: int = 0
    minutes: float = 45.0
    checkpoint_minutes: float = 3.0


def build_vae(config: Config) -> AutoencoderKL:
    """An untrained autoencoder, 8× down, four latent channels, no attention."""
    depth = len(config.channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=config.channels,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=config.norm_groups,
        sample_size=SIZE,
        mid_block_add_attention=False,
    )


def gradient_loss(a: Tensor, b: Tensor) -> Tensor:
    """Mean |∇a − ∇b| over horizontal and vertical differences: it keeps edges sharp."""
    error = a - b
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def vae_loss(vae: AutoencoderKL, pixels: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """The training loss and the plain L1 error.

    Math: |x̂ − x| + (x̂ − x)² + w_g·|∇x̂ − ∇x| + w_kl·KL(q(z|x) ‖ N(0, 1)), z = μ + σ·ε
    """
    mean, logvar = vae.quant_conv(vae.encoder(pixels)).chunk(2, dim=1)
    logvar = logvar.clamp(-30.0, 20.0)
    latent = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
    output = vae.decoder(vae.post_quant_conv(latent))
    l1 = F.l1_loss(output, pixels)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(dim=(1, 2, 3)).mean()
    loss = l1 + F.mse_loss(output, pixels) + config.kl_weight * kl
    loss = loss + config.gradient_weight * gradient_loss(output, pixels)
    return loss, l1.detach()


@torch.no_grad()
def psnr_on_white(vae: AutoencoderKL, drawings: Drawings, rows: NDArray[np.int64]) -> float:
    """Mean PSNR in dB of reconstructions of these drawings on white, pixels rounded to bytes."""
    values = []
    for row in rows:
        truth = compose(np.asarray(drawings.pixels[row]), WHITE)
        pixels = torch.from_numpy(truth).permute(2, 0, 1)[None] / 127.5 - 1
        output = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
        picture = ((output[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).round().numpy()
        mse = float(((picture - truth.round()) ** 2).mean())
        values.append(10 * np.log10(255**2 / max(mse, 1e-6)))
    return float(np.mean(values))


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures (N, 128, 128, 3) in 0..255, encoded and decoded."""
    found = []
    for start in range(0, len(pixels), 10):
        chunk = torch.from_numpy(pixels[start : start + 10]).permute(0, 3, 1, 2) / 127.5 - 1
        output = vae.decode(vae.encode(chunk).latent_dist.mode()).sample
        found.append(((output.permute(0, 2, 3, 1) + 1) * 127.5).clamp(0, 255).numpy())
    return np.concatenate(found)


def load_pictures(cache: Path, rng: np.random.Generator) -> Pictures:
    """Load the pictures of all domains into memory."""
    kept = load_drawings(cache)
    drawings = Drawings(np.array(kept.pixels), kept.keys, kept.names)
    return Pictures(drawings, load_scenes(cache), rng, Mixture())


def train(config: Config, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` and return the checkpoint's path."""
    path = cache / "vae" / "checkpoint.safetensors"
    open_run(path.parent, "vae", config)
    vae, start = build_vae(config), loop.start_of(path, resume)
    pictures = load_pictures(cache, np.random.default_rng((config.seed, start.step)))
    errors: list[float] = []

    def loss(progress: float) -> Tensor:
        # Crops cost a quarter of a picture and show more different edges for the same work, so
        # they come first; whole pictures follow, for the statistics that the group norms meet.
        if progress < config.crop_share:
            pixels = pictures.draw(config.crop_batch, config.crop)
        else:
            pixels = pictures.draw(config.batch)
        error, l1 = vae_loss(vae, pixels, config)
        errors.append(float(l1))
        return error

    def note() -> str:
        mean = float(np.mean(errors))
        errors.clear()
        return f"l1 {mean:.4f}"

    def measure() -> dict[str, float]:
        return {"psnr_db": psnr_on_white(vae, pictures.drawings, pictures.held_out[::4])}

    optimizers = muon_and_adam(vae.named_parameters(), BY_ELEMENT, config.matrix_rate, config.rate)
    learner = loop.Learner(vae, optimizers, loss, measure, note, prefix="vae", clip=1.0)
    loop.train(learner, config, path, start)
    return path


if __name__ == "__main__":
    run_stage(__doc__, Config, train)
