"""Latents to pictures when memory runs out: what is idle goes, then slices, then tiles."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.errors import OutOfMemory
from pipelines.families import load_family, spec_of
from pipelines.families import vae as vae_module
from pipelines.families.base import LoadedModel
from pipelines.families.vae import decode
from tests.helpers.tiny import vae

SD = load_family(spec_of("StableDiffusionPipeline"))


def model_of(network: Any) -> LoadedModel:
    return LoadedModel("tiny", {"vae": network}, "", "cpu", torch.float32)


def decoder(most: int, **overrides: Any) -> Any:
    """A VAE on a device that holds `most` numbers of a latent at once."""
    torch.manual_seed(0)
    network = vae(**overrides)
    inner = network.decoder.forward

    def forward(latents: torch.Tensor, *rest: Any) -> Any:
        if latents.numel() > most:
            raise torch.OutOfMemoryError(f"{latents.numel()} numbers do not fit")
        return inner(latents, *rest)

    network.decoder.forward = forward
    return network


def latents(count: int = 1, side: int = 16) -> torch.Tensor:
    return torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(1))


def test_what_is_idle_goes_first_and_changes_nothing() -> None:
    freed: list[int] = []
    network = decoder(10**9)
    expected = decode(SD, model_of(network), latents(), lambda: False)
    tight = decoder(0)
    whole = network.decoder.forward

    def free() -> bool:
        freed.append(1)
        tight.decoder.forward = whole
        return True

    found = decode(SD, model_of(tight), latents(), free)
    assert freed == [1] and torch.equal(found, expected)


def test_slices_change_nothing_and_the_vae_is_as_before() -> None:
    whole = decode(SD, model_of(decoder(10**9)), latents(3), lambda: False)
    network = decoder(4 * 16 * 16)
    sliced = decode(SD, model_of(network), latents(3), lambda: False)
    assert int((whole.int() - sliced.int()).abs().max()) <= 1, "of 255"
    assert not network.use_slicing and not network.use_tiling


def test_tiles_are_the_picture_away_from_their_edges() -> None:
    whole = decode(SD, model_of(decoder(10**9)), latents(), lambda: False)
    network = decoder(4 * 8 * 8)  # its tiles are 8 × 8 latents
    tiled = decode(SD, model_of(network), latents(), lambda: False)
    assert tiled.shape == whole.shape and not network.use_tiling
    difference = (whole.int() - tiled.int()).abs().float()
    # The VAE normalises over what it sees, so a tile's colours are its own; not another picture's.
    other = decode(SD, model_of(network), latents().flip(2, 3), lambda: False)
    assert difference.mean() < 0.5 * (whole.int() - other.int()).abs().float().mean()


def test_what_fits_in_no_way_is_said() -> None:
    with pytest.raises(OutOfMemory, match="even in tiles: 256 numbers do not fit"):
        decode(SD, model_of(decoder(1)), latents(), lambda: False)


def test_tiles_are_taken_at_once_where_nothing_else_can_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[int, ...]] = []
    network = decoder(10**9)
    inner = network.decoder.forward

    def counted(given: torch.Tensor, *rest: Any) -> Any:
        calls.append(tuple(given.shape))
        return inner(given, *rest)

    network.decoder.forward = counted
    monkeypatch.setattr(vae_module, "free_memory", lambda device: 3 * 64 * 64 * 8 * 4)
    decode(SD, model_of(network), latents(), lambda: False)
    assert calls == [(1, 4, 16, 16)], "what just fits is decoded whole"
    calls.clear()
    monkeypatch.setattr(vae_module, "free_memory", lambda device: 3 * 64 * 64 * 8 * 4 - 1)
    decode(SD, model_of(network), latents(), lambda: False)
    assert len(calls) > 1 and max(shape[2] for shape in calls) == 8


@pytest.mark.gpu
def test_a_gpu_says_what_is_free() -> None:
    from pipelines.devices.hardware import free_memory, hardware

    found = hardware("cuda")
    assert found.has_own_memory and 0 < free_memory("cuda") <= found.total
