"""Stage 4: train the decoder further, behind the frozen encoder.

    python -m training.stages.decoder --minutes 12 [--resume]

The latents stay what the UNet has learnt; only how they are turned into pixels gets better, so
this may run at any time. Whole pictures only: the group norms then see what they will meet.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from training.optim import loop
from training.optim.checkpoint import load_checkpoint, unprefixed
from training.optim.optimizers import muon_and_adam
from training.optim.run_folder import log, run_stage, start_log
from training.optim.schedule import RunConfig
from training.stages.vae import BY_ELEMENT, build_vae, gradient_loss, load_pictures, psnr_on_white
from training.stages.vae import Config as VaeConfig

FROZEN = Path(__file__).parents[1] / "frozen" / "autoencoder.safetensors"
CHECKPOINT = Path("vae") / "decoder.safetensors"


@dataclass(frozen=True)
class Config(RunConfig):
    """Configuration of this stage's run."""

    batch: int = 8
    matrix_rate: float = 0.01
    rate: float = 1e-3
    warmup: float = 0.03
    gradient_weight: float = 0.5
    seed: int = 1
    minutes: float = 12.0
    checkpoint_minutes: float = 3.0


def load_vae(cache: Path) -> AutoencoderKL:
    """The trained autoencoder, with the further trained decoder where there is one.

    Where the cache has none, it is the frozen one: the UNet, its siblings and the ControlNets all
    need the same latents, however far apart they are trained.
    """
    vae = build_vae(VaeConfig()).eval()
    path = cache / "vae" / "checkpoint.safetensors"
    tensors, state = load_checkpoint(path if path.exists() else FROZEN)
    log.info("autoencoder of step %s", state.get("step"))
    vae.load_state_dict({name: t.float() for name, t in unprefixed(tensors, "vae").items()})
    if (cache / CHECKPOINT).exists():
        tensors, _ = load_checkpoint(cache / CHECKPOINT)
        vae.decoder.load_state_dict(unprefixed(tensors, "decoder"))
        vae.post_quant_conv.load_state_dict(unprefixed(tensors, "post"))
    return vae


def decoder_loss(vae: AutoencoderKL, pixels: Tensor, gradient_weight: float) -> Tensor:
    """|x̂ − x| + (x̂ − x)² + w·|∇x̂ − ∇x| at the encoder's mean, which gets no gradient."""
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist.mode()
    output = vae.decode(latents).sample
    loss = F.l1_loss(output, pixels) + F.mse_loss(output, pixels)
    return loss + gradient_weight * gradient_loss(output, pixels)


def train(config: Config, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` and return the checkpoint's path."""
    path = cache / CHECKPOINT
    start_log(path.parent, "decoder")
    torch.manual_seed(config.seed)
    start = loop.start_of(path, resume)
    if not resume:
        path.unlink(missing_ok=True)
    vae = load_vae(cache).to(memory_format=torch.channels_last).requires_grad_(False)
    trained = nn.ModuleDict({"decoder": vae.decoder, "post": vae.post_quant_conv})
    trained.requires_grad_(True)
    pictures = load_pictures(cache, np.random.default_rng((config.seed, start.step)))

    def loss(_: float) -> Tensor:
        pixels = pictures.draw(config.batch).contiguous(memory_format=torch.channels_last)
        return decoder_loss(vae, pixels, config.gradient_weight)

    def measure() -> dict[str, float]:
        return {"psnr_db": psnr_on_white(vae, pictures.drawings, pictures.held_out[::4])}

    log.info("before: %s", measure())
    optimizers = muon_and_adam(
        trained.named_parameters(), BY_ELEMENT, config.matrix_rate, config.rate
    )
    learner = loop.Learner(trained, optimizers, loss, measure, prefix="", clip=1.0)
    loop.train(learner, config, path, start)
    return path


if __name__ == "__main__":
    run_stage(__doc__, Config, train)
