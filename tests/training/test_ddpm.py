"""The forward process: closed form, moments, weights."""

import pytest
import torch

from training.optim import ddpm


def test_variance_is_preserved() -> None:
    generator = torch.Generator().manual_seed(0)
    alpha_bar = ddpm.alphas_cumprod()
    x0 = torch.randn(400, 4, 8, 8, generator=generator)
    noise = torch.randn(400, 4, 8, 8, generator=generator)
    for step in (0, 250, 500, 999):
        noisy = ddpm.add_noise(x0, noise, torch.full((400,), step), alpha_bar)
        assert float(noisy.var()) == pytest.approx(1.0, abs=0.02)


def test_closed_form_is_the_walk_through_all_steps() -> None:
    alpha_bar = ddpm.alphas_cumprod()
    betas = torch.linspace(ddpm.BETA_START**0.5, ddpm.BETA_END**0.5, ddpm.STEPS).square()
    x0, t, rows = 2.0, 300, 40_000
    generator = torch.Generator().manual_seed(1)
    walked = torch.full((rows,), x0)
    for beta in betas[: t + 1]:
        walked = (1 - beta).sqrt() * walked
        walked += beta.sqrt() * torch.randn(rows, generator=generator)
    noise = torch.randn(rows, 1, 1, 1, generator=generator)
    start = torch.full((rows, 1, 1, 1), x0)
    jumped = ddpm.add_noise(start, noise, torch.full((rows,), t), alpha_bar)
    mean = float(alpha_bar[t].sqrt() * x0)
    for sample in (walked, jumped):
        assert float(sample.mean()) == pytest.approx(mean, abs=0.02)
        assert float(sample.var()) == pytest.approx(float(1 - alpha_bar[t]), abs=0.02)


def test_rows_have_their_own_level() -> None:
    alpha_bar = ddpm.alphas_cumprod()
    t = torch.tensor([0, 999])
    x0 = torch.ones(2, 1, 1, 1)
    noisy = ddpm.add_noise(x0, torch.zeros_like(x0), t, alpha_bar).flatten()
    assert torch.allclose(noisy, alpha_bar[t].sqrt())


def test_a_perfect_denoiser_has_no_error_and_a_zero_one_has_the_noise() -> None:
    alpha_bar = ddpm.alphas_cumprod()
    generator = torch.Generator().manual_seed(2)
    x0, noise = (torch.randn(3, 4, 2, 2, generator=generator) for _ in range(2))
    t = torch.tensor([10, 500, 900])
    assert ddpm.ddpm_step(lambda x, at: noise, x0, noise, t, alpha_bar).max() == 0
    errors = ddpm.ddpm_step(lambda x, at: torch.zeros_like(x), x0, noise, t, alpha_bar)
    assert torch.allclose(errors, noise.square().mean(dim=(1, 2, 3)))


def test_timesteps_cover_every_stratum_once() -> None:
    t = ddpm.uniform_timesteps(50, 1000, torch.Generator().manual_seed(0))
    assert sorted((t // 20).tolist()) == list(range(50))


def test_noise_weights() -> None:
    alpha_bar = ddpm.alphas_cumprod()
    snr = alpha_bar / (1 - alpha_bar)
    assert torch.equal(ddpm.noise_weight(alpha_bar, None), torch.ones(ddpm.STEPS))
    plain = ddpm.noise_weight(alpha_bar, 5.0)
    assert torch.allclose(plain[snr > 5] * snr[snr > 5], torch.tensor(5.0))
    assert torch.all(plain[snr < 5] == 1)
    boosted = ddpm.noise_weight(alpha_bar, 5.0, 3.0)
    assert torch.allclose(boosted[snr > 1], plain[snr > 1])
    assert float(boosted[-1]) == pytest.approx(3.0)
