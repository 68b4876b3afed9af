"""The UNet for 256 px, its start from the shipped one, and the pool of scenes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.training.composed_bank import small_bank
from training.data.composition import Composer, Shares
from training.data.scene_pool import Pool, fingerprint
from training.data.tokenizer import tokenize
from training.evaluation.composed_sheet import blobs, checks, paint_of
from training.optim import ddpm
from training.stages.alignment import EXIT, align, fit_exit, shipped_times
from training.stages.composed import BETA_END
from training.stages.enlarged import TOKENS, build_enlarged, longer_text, take_shipped
from training.stages.scene_vae import SHAPES, build_scene_vae, moved
from training.stages.shipped import load_shipped

SHIPPED = load_shipped("models/emoji")


def test_the_inner_levels_start_with_the_shipped_weights() -> None:
    unet = build_enlarged()
    fresh = take_shipped(unet, SHIPPED.unet, torch.arange(1000))
    own, other = unet.state_dict(), SHIPPED.unet.state_dict()
    same = {
        "down_blocks.2.attentions.0.proj_in.weight": "down_blocks.1.attentions.0.proj_in.weight",
        "mid_block.resnets.0.conv1.weight": "mid_block.resnets.0.conv1.weight",
        "up_blocks.0.resnets.0.conv1.weight": "up_blocks.0.resnets.0.conv1.weight",
        "up_blocks.2.resnets.0.conv1.weight": "up_blocks.2.resnets.0.conv1.weight",
    }
    for name, source in same.items():
        assert torch.equal(own[name], other[source]), name
    assert all(name.startswith(("conv", "time_embedding.linear_1", "down_blocks.0", "down_blocks.1",
                                "up_blocks.2", "up_blocks.3")) for name in fresh)  # fmt: skip


def test_the_time_embedding_answers_as_the_shipped_one() -> None:
    unet = build_enlarged()
    take_shipped(unet, SHIPPED.unet, torch.arange(1000))
    t = torch.arange(0, 1000, 7)
    with torch.no_grad():
        found = unet.time_embedding(unet.time_proj(t))
        wanted = SHIPPED.unet.time_embedding(SHIPPED.unet.time_proj(t))
        halved = unet.time_embedding.bfloat16()(unet.time_proj(t).bfloat16()).float()
    error = (found - wanted).square().mean() / wanted.var()
    assert float(error) < 0.02
    # Training computes in bfloat16: weights that cancel each other would be lost there.
    assert float((halved - found).square().mean() / wanted.var()) < 1e-3


def test_times_of_the_shipped_unet_have_four_times_the_signal() -> None:
    ours, theirs = ddpm.alphas_cumprod(end=BETA_END), ddpm.alphas_cumprod()
    times = shipped_times(ours, theirs)
    assert (times.diff() >= 0).all()
    ratio = (theirs / (1 - theirs))[times] / (ours / (1 - ours))
    assert torch.allclose(ratio[100:], torch.full((900,), 4.0), rtol=0.06)


def test_alignment_hands_the_inner_levels_what_they_knew() -> None:
    torch.manual_seed(0)
    ours = ddpm.alphas_cumprod(end=BETA_END)
    unet = build_enlarged()
    take_shipped(unet, SHIPPED.unet, shipped_times(ours, ddpm.alphas_cumprod()))
    inner = unet.mid_block.resnets[0].conv1.weight.clone()

    def draw(count: int) -> torch.Tensor:
        return F.interpolate(torch.randn(count, 4, 8, 8), scale_factor=4, mode="bilinear")

    assert align(unet, SHIPPED.unet, draw, ours, steps=60) < 0.5
    assert torch.equal(inner, unet.mid_block.resnets[0].conv1.weight)


def test_only_the_exit_learns_at_first() -> None:
    torch.manual_seed(0)
    ours = ddpm.alphas_cumprod(end=BETA_END)
    unet = build_enlarged()
    take_shipped(unet, SHIPPED.unet, torch.arange(1000))
    before = {name: p.detach().clone() for name, p in unet.named_parameters()}

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(count, 4, 32, 32), torch.zeros(count, 5, 256)

    fit_exit(unet, draw, ours, torch.ones(1000), steps=2)
    changed = {name for name, p in unet.named_parameters() if not torch.equal(p, before[name])}
    assert "conv_out.weight" in changed
    assert all(name.startswith(EXIT) for name in changed)
    assert all(p.requires_grad for p in unet.parameters())


def _spots(*spots: tuple[int, int, int], colour: tuple[int, int, int]) -> np.ndarray:
    picture = np.full((256, 256, 3), 250, np.uint8)
    for x, y, radius in spots:
        cv2.circle(picture, (x, y), radius, colour, -1)
    return picture


def test_blobs_are_counted_and_placed() -> None:
    picture = _spots((50, 60, 20), (180, 60, 30), (128, 200, 3), colour=(20, 90, 220))
    found = blobs(picture)
    assert len(found) == 2
    assert found[0][:2] == pytest.approx((180 / 256, 60 / 256), abs=0.01)
    assert paint_of(picture) == "blue"
    assert blobs(np.full((256, 256, 3), 9, np.uint8)) == []


def test_checks_tell_right_from_wrong() -> None:
    asks = {check.name: dict(check.asks) for check in checks()}
    two = _spots((60, 60, 20), (180, 60, 30), colour=(220, 50, 50))
    one = _spots((60, 128, 30), colour=(220, 50, 50))
    assert asks["count"]["two apples on a white background"](two)
    assert not asks["count"]["three apples on a white background"](two)
    assert asks["position"]["an apple on the left on a white background"](one)
    assert not asks["position"]["an apple on the right on a white background"](one)
    assert asks["colour"]["a red apple on a white background"](one)
    assert not asks["colour"]["a blue apple on a white background"](one)
    assert asks["two things"]["an apple and a lemon on a white background"](two)


def test_unet_takes_latents_of_256_px() -> None:
    unet = build_enlarged().eval()
    with torch.no_grad():
        out = unet(torch.zeros(1, 4, 32, 32), 5, torch.zeros(1, TOKENS, 256)).sample
    assert out.shape == (1, 4, 32, 32)


def test_longer_text_says_the_same_of_short_captions() -> None:
    text, tokenizer = longer_text(SHIPPED.text_encoder, SHIPPED.tokenizer)
    captions = ["a red apple", "a cat, flat style, on a blue background"]
    short, long = tokenize(SHIPPED.tokenizer, captions), tokenize(tokenizer, captions)
    assert long.shape == (2, TOKENS)
    with torch.no_grad():
        before = SHIPPED.text_encoder(short)
        after = text.eval()(long)
    assert torch.allclose(before.last_hidden_state, after.last_hidden_state[:, :24], atol=1e-5)
    assert torch.allclose(before.pooler_output, after.pooler_output, atol=1e-5)
    assert SHIPPED.tokenizer.model_max_length == 24


def _pool(folder: Path, capacity: int) -> Pool:
    composer = Composer(small_bank())
    return Pool(folder, composer, SHIPPED.vae, 3, capacity, np.random.default_rng(0))


def test_the_pool_keeps_the_newest_scenes_and_survives(tmp_path: Path) -> None:
    pool = _pool(tmp_path, 4)
    pool.fill(3)
    kept = pool.draw(3, 0).latents
    assert len(pool) == 3
    assert kept.shape == (3, 4, 32, 32)
    pool.fill(3)
    again = _pool(tmp_path, 4)
    assert again.made == 6
    assert len(again) == 4
    rows = again.draw(2, 2)
    assert again.made == 8
    assert len(rows.captions) == 2
    fresh = _pool(tmp_path / "other", 8)
    fresh.fill(8)
    assert np.allclose(
        np.load(tmp_path / "latents.npy")[7 % 4],
        np.load(tmp_path / "other/latents.npy")[7],
        atol=2e-2,
    )


def test_other_scenes_start_the_pool_anew(tmp_path: Path) -> None:
    pool = _pool(tmp_path, 8)
    pool.fill(4)
    assert _pool(tmp_path, 8).made == 4
    composer = Composer(small_bank(), shares=Shares(painted=0.9))
    other = Pool(tmp_path, composer, SHIPPED.vae, 3, 8, np.random.default_rng(0))
    assert other.made == 0
    assert fingerprint(composer, 3) != fingerprint(composer, 4)


def test_dropped_captions_are_empty(tmp_path: Path) -> None:
    pool = _pool(tmp_path, 8)
    assert pool.draw(4, 4, caption_dropout=1.0).captions == [""] * 4
    assert all(pool.draw(4, 0).captions)


@pytest.mark.parametrize("shape", list(SHAPES))
def test_autoencoders_have_their_factor_and_start_with_the_frozen_weights(shape: str) -> None:
    vae = build_scene_vae(shape).eval()
    factor, channels = (int(v) for v in shape.split("x"))
    with torch.no_grad():
        latents = vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mode()
        assert latents.shape == (1, channels, 64 // factor, 64 // factor)
        assert vae.decode(latents).sample.shape == (1, 3, 64, 64)
    frozen = build_scene_vae("8x4").state_dict()
    level = 0 if shape == "8x4" else 1
    name = "decoder.up_blocks.{}.resnets.0.conv1.weight"
    assert torch.equal(vae.state_dict()[name.format(2 + level)], frozen[name.format(2)])


def test_moves_turn_mirror_and_shrink() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(moved(image, 0), image.rot90(1, (2, 3)))
    assert torch.equal(moved(image, 1), image.flip(2).flip(3))
    assert torch.equal(moved(image, 2), image.flip(3))
    assert moved(image, 3).shape == (1, 1, 2, 2)
    assert float(moved(image, 3).mean()) == pytest.approx(float(image.mean()))
