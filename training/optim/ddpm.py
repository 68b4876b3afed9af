"""The DDPM training step on latents: noise them in closed form, ask for the noise back.

Source: Ho, Jain & Abbeel 2020, "Denoising Diffusion Probabilistic Models", Alg. 1,
arXiv:2006.11239. The weights by noise level are optional: Hang et al. 2023, arXiv:2303.09556.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]

STEPS = 1000
BETA_START = 0.00085
BETA_END = 0.012


def alphas_cumprod(steps: int = STEPS, start: float = BETA_START, end: float = BETA_END) -> Tensor:
    """ᾱ_t of the scaled-linear schedule that Stable Diffusion uses, (steps,) float32.

    Math: β_t linear in √β from √start to √end; ᾱ_t = Π_{s≤t} (1 − β_s)
    """
    betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64).square()
    return torch.cumprod(1 - betas, dim=0).float()


def uniform_timesteps(count: int, steps: int, generator: torch.Generator | None = None) -> Tensor:
    """`count` timesteps, each uniform on 0..steps − 1, one from each of `count` equal strata.

    Stratifying leaves every row's distribution uniform and takes variance out of the batch's mean.
    """
    strata = torch.randperm(count, generator=generator)
    return ((strata + torch.rand(count, generator=generator)) * (steps / count)).long()


def add_noise(x0: Tensor, noise: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """A draw of q(x_t | x_0), without walking through the steps before t.

    Math: x_t = √ᾱ_t·x_0 + √(1 − ᾱ_t)·ε
    Args:
        x0, noise: (B, C, H, W).
        t: (B,) int64.
    """
    level = alpha_bar[t].view(-1, 1, 1, 1)
    return level.sqrt() * x0 + (1 - level).sqrt() * noise


def noise_weight(alpha_bar: Tensor, gamma: float | None, boost: float = 1.0) -> Tensor:
    """The weight of the ε-error by noise level; None for gamma is Ho's plain 1.

    Math: min(SNR, γ)/SNR · clamp(SNR^−½, 1, boost), SNR = ᾱ/(1 − ᾱ)
    The first factor is min-SNR-γ. The second, off at boost = 1, counts the noisiest steps more:
    there the caption alone decides the layout, and a plain ε-error hardly notices it.
    """
    if gamma is None:
        return torch.ones_like(alpha_bar)
    snr = alpha_bar / (1 - alpha_bar)
    return snr.clamp(max=gamma) / snr * snr.rsqrt().clamp(1.0, boost)


def ddpm_step(
    denoiser: Denoiser, x0: Tensor, noise: Tensor, t: Tensor, alpha_bar: Tensor
) -> Tensor:
    """The squared error of the predicted noise, one number a row; its mean is Ho's L_simple.

    Math: ‖ε − ε_θ(√ᾱ_t·x_0 + √(1 − ᾱ_t)·ε, t)‖² / dim,  t ~ U{0..T − 1}, ε ~ N(0, 1)
    Args:
        denoiser: (x_t, t) to predicted noise; the conditioning is bound beforehand.
        x0: clean latents, (B, C, H, W).
        noise: ε, same shape.
        t: (B,) int64, as `uniform_timesteps` gives.
        alpha_bar: ᾱ, (T,).
    Returns: (B,) float32; multiply by `noise_weight(...)[t]` before the mean to weight levels.
    Source: Ho et al. 2020, Alg. 1 and Eq. 14, arXiv:2006.11239.
    """
    predicted = denoiser(add_noise(x0, noise, t, alpha_bar), t)
    return (predicted - noise).square().mean(dim=(1, 2, 3))
