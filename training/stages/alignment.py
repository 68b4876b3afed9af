"""Fit the outer level to hand the inner levels what the shipped UNet handed them.

A 256 px picture's latents, averaged two by two, are about those of the same picture at 128 px with
half the noise. So every time t of ours has a time t' of the shipped UNet with four times the signal
over noise, and the new layers that lead into the inner levels are fitted to give them, at t, what
the shipped ones give at t'. Without this the inner levels would first have to unlearn.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from training.optim import ddpm
from training.optim.run_folder import log
from training.optim.schedule import cosine

# Averaging two by two leaves a quarter of the noise's variance.
GAIN = 4.0
BATCH = 32
RATE = 3e-3


def shipped_times(alpha_bar: Tensor, shipped_alpha_bar: Tensor, gain: float = GAIN) -> Tensor:
    """For each t the shipped UNet's time with `gain` times the signal over noise, (T,) int64.

    Math: t' = the last with SNR'(t') ≥ gain·SNR(t), SNR = ᾱ/(1 − ᾱ)
    """
    ratio = gain * alpha_bar / (1 - alpha_bar)
    falling = shipped_alpha_bar / (1 - shipped_alpha_bar)
    # Ascending for the search: minus the falling ratio.
    found = torch.searchsorted(-falling, -ratio, right=True) - 1
    return found.clamp(0, len(alpha_bar) - 1)


def entrance(unet: UNet2DConditionModel) -> nn.ModuleDict:
    """The new layers that lead into the inner levels."""
    first = unet.down_blocks[1].resnets[0]
    return nn.ModuleDict(
        {
            "conv_in": unet.conv_in,
            "outer": unet.down_blocks[0],
            "norm": first.norm1,
            "conv": first.conv1,
            "shortcut": first.conv_shortcut,
        }
    )


def _entered(unet: UNet2DConditionModel, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """What stands for the shipped UNet's first convolution, and the first inner block's output."""
    time = unet.time_embedding(unet.time_proj(t))
    hidden, _ = unet.down_blocks[0](unet.conv_in(x), time)
    first = unet.down_blocks[1].resnets[0]
    return first.conv_shortcut(hidden), first(hidden, time)


@torch.no_grad()
def _wanted(shipped: UNet2DConditionModel, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The same of the shipped UNet, on averaged latents."""
    time = shipped.time_embedding(shipped.time_proj(t))
    hidden = shipped.conv_in(x)
    return hidden, shipped.down_blocks[0].resnets[0](hidden, time)


def align(
    unet: UNet2DConditionModel,
    shipped: UNet2DConditionModel,
    draw: Callable[[int], Tensor],
    alpha_bar: Tensor,
    steps: int = 400,
) -> float:
    """Fit the entrance in place; returns the error left, in shares of the wanted variance.

    Args:
        unet: after `enlarged.take_shipped`; float32.
        draw: gives that many clean latents, (B, 4, 32, 32).
        alpha_bar: of the new model.
    """
    theirs = ddpm.alphas_cumprod()
    times = shipped_times(alpha_bar, theirs)
    layers = entrance(unet)
    optimizer = torch.optim.Adam(layers.parameters(), lr=RATE)
    error = float("nan")
    for step in range(steps):
        x0 = draw(BATCH)
        t = ddpm.uniform_timesteps(len(x0), ddpm.STEPS)
        x = ddpm.add_noise(x0, torch.randn_like(x0), t, alpha_bar)
        scale = (theirs[times[t]] / alpha_bar[t]).sqrt().view(-1, 1, 1, 1)
        found = _entered(unet, x, t)
        wanted = _wanted(shipped, scale * F.avg_pool2d(x, 2), times[t])
        losses = [F.mse_loss(a, b) / b.var() for a, b in zip(found, wanted, strict=True)]
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine(step / steps, 0.05)
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        first, error = (float(loss.detach()) for loss in losses)
        if step % 50 == 0 or step == steps - 1:
            log.info("alignment step %d errors %.3f %.3f", step, first, error)
    return error


EXIT = ("up_blocks.2.resnets.1.", "up_blocks.2.upsamplers.", "up_blocks.3.", "conv_norm_out.",
        "conv_out.")  # fmt: skip


def fit_exit(
    unet: UNet2DConditionModel,
    draw: Callable[[int], tuple[Tensor, Tensor]],
    alpha_bar: Tensor,
    weights: Tensor,
    steps: int = 160,
) -> float:
    """Train only the new layers that lead out of the inner levels; returns the last mean error.

    The inner levels then meet gradients that mean something, and keep what they know.

    Args:
        draw: gives that many clean latents and the text's states.
        weights: of the error by time, (T,).
    """
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(name.startswith(EXIT))
    own = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(own, lr=RATE)
    errors = []
    for step in range(steps):
        x0, hidden = draw(BATCH)
        t = ddpm.uniform_timesteps(len(x0), ddpm.STEPS)

        def predicted(x: Tensor, at: Tensor, text: Tensor = hidden) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                noise: Tensor = unet(x, at, text, return_dict=False)[0]
            return noise.float()

        error = ddpm.ddpm_step(predicted, x0, torch.randn_like(x0), t, alpha_bar)
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine(step / steps, 0.05)
        optimizer.zero_grad()
        (error * weights[t]).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        errors.append(float(error.detach().mean()))
        if step % 40 == 39 or step == steps - 1:
            log.info("exit step %d error %.3f", step, sum(errors[-40:]) / 40)
    unet.requires_grad_(True)
    return errors[-1]
