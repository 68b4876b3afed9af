"""Where weights live, in which numbers, and what gives way: arithmetic on bytes, no device."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from hypothesis import given
from hypothesis import strategies as st
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipelines.denoising.oom_fallbacks import fallbacks
from pipelines.devices.hardware import Hardware
from pipelines.devices.placement import Placement, Weights, default_budget, lru_victims, place
from pipelines.devices.precision import T5, VAE, dtype_name
from pipelines.devices.vae_memory import VaePlan, decode_bytes, vae_plan
from pipelines.errors import OutOfMemory
from pipelines.families import FAMILIES

ROOT = Path(__file__).parents[3]
GB = 10**9
CPU = Hardware("cpu", 32 * GB)
NEW = Hardware("cuda", 24 * GB, has_own_memory=True, bfloat16=True)
OLD = Hardware("cuda", 8 * GB, has_own_memory=True)
FLUX = {
    "tokenizer": Weights(0),
    "text_encoder": Weights(250_000_000, 76_000_000),
    "text_encoder_2": Weights(9_500_000_000, 263_000_000),
    "transformer": Weights(23_800_000_000, 113_000_000),
    "vae": Weights(168_000_000, 5_000_000),
}


def offloads(placement: Placement) -> bool:
    return set(placement.homes.values()) != {"device"}


def test_torch_is_not_needed_to_decide() -> None:
    names = ("precision", "hardware", "placement", "vae_memory", "memory_options", "quantization")
    modules = ", ".join(f"pipelines.devices.{name}" for name in names)
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert said.strip() == "False"


@pytest.mark.parametrize(
    ("hardware", "family", "cls", "force_upcast", "expected"),
    [
        (CPU, "flux", T5, True, "float32"),
        (CPU, "sd", "UNet2DConditionModel", True, "float32"),
        (Hardware("mps", 16 * GB), "sdxl", VAE, True, "float32"),
        (NEW, "sd", "UNet2DConditionModel", True, "float16"),
        (NEW, "sd", VAE, True, "float16"),
        (NEW, "sdxl", "UNet2DConditionModel", True, "float16"),
        (NEW, "sdxl", VAE, True, "float32"),
        (NEW, "sdxl", VAE, False, "float16"),
        (NEW, "sd3", "SD3Transformer2DModel", True, "bfloat16"),
        (NEW, "flux", VAE, True, "bfloat16"),
        (NEW, "flux", T5, True, "bfloat16"),
        (OLD, "flux", "FluxTransformer2DModel", True, "float16"),
        (OLD, "sd3", T5, True, "float32"),
        (OLD, "flux", VAE, True, "float32"),
    ],
)
def test_numbers(
    hardware: Hardware, family: str, cls: str, force_upcast: bool, expected: str
) -> None:
    spec = FAMILIES[family]
    found = dtype_name(
        hardware,
        cls,
        trained_in=spec.trained_in,
        vae_fits_float16=spec.vae_fits_float16,
        force_upcast=force_upcast,
    )
    assert found == expected


def test_the_budget_leaves_a_reserve_and_what_others_have() -> None:
    assert default_budget(NEW) == 24 * GB - 24 * GB // 5
    assert default_budget(replace(NEW, taken=3 * GB)) == 21 * GB - 24 * GB // 5
    assert default_budget(Hardware("cpu", 24 * GB)) == 12 * GB
    assert default_budget(replace(OLD, taken=7 * GB)) == 0


def test_what_fits_stays_and_one_byte_decides() -> None:
    whole = sum(one.bytes for one in FLUX.values())
    assert not offloads(place(FLUX, whole, NEW)) and place(FLUX, whole, NEW).room == 0
    assert offloads(place(FLUX, whole - 1, NEW))
    assert not offloads(place(FLUX, whole - 1, CPU)), "there is nowhere to move to"


def test_what_does_not_fit_together_comes_one_after_another() -> None:
    found = place(FLUX, 24 * GB, NEW)
    assert found.homes["transformer"] == found.homes["text_encoder_2"] == "model"
    assert found.homes["tokenizer"] == "device", "it has no bytes"
    assert found.room == 24 * GB, "as many side by side as there is room for"
    roomy = place(FLUX, 33 * GB, NEW)
    assert roomy.room == 33 * GB < sum(one.bytes for one in FLUX.values())


def test_what_does_not_fit_alone_comes_by_layers() -> None:
    found = place(FLUX, 12 * GB, NEW)
    assert found.homes["transformer"] == "group"
    assert found.homes["text_encoder_2"] == found.homes["vae"] == "model"
    visitors = sum(FLUX[name].bytes for name, home in found.homes.items() if home == "model")
    assert found.room == 2 * 113_000_000 + visitors
    # 9.6 GB hold T5, but not beside two layers of the transformer.
    tight = place(FLUX, 9_600_000_000, NEW)
    assert tight.homes["text_encoder_2"] == "group" and tight.homes["vae"] == "model"
    assert tight.room == 2 * 263_000_000 + 250_000_000 + 168_000_000


def test_addons_stay_and_leave_less_room() -> None:
    weights = {**FLUX, "controlnet": Weights(1 * GB, movable=False)}
    found = place(weights, 24 * GB, NEW)
    assert found.homes["controlnet"] == "device"
    assert found.homes["transformer"] == "group", "23.8 of 23 GB"
    assert place(weights, 25 * GB, NEW).homes["transformer"] == "model"


def test_four_bit_layers_come_all_together_or_not() -> None:
    """What dequantises them does not follow single layers to the device."""
    four = {**FLUX, "transformer": replace(FLUX["transformer"], bytes=7 * GB, layered=False)}
    assert place(four, 8 * GB, NEW).homes["transformer"] == "model"
    assert place(four, 100 * GB, NEW, "group").homes["transformer"] == "model"
    with pytest.raises(OutOfMemory, match=r"transformer needs .* in 4 bits it cannot .* int8"):
        place(four, 6 * GB, NEW)


def test_layers_that_never_fit_are_said() -> None:
    with pytest.raises(OutOfMemory, match=r"need 526 MB at once; 500 MB of the budget of 500 MB"):
        place(FLUX, 500_000_000, NEW)


def test_what_is_asked_for_is_done_on_any_device() -> None:
    for hardware in (CPU, NEW):
        homes = place(FLUX, 100 * GB, hardware, "group").homes
        assert {name for name, home in homes.items() if home == "group"} == set(FLUX) - {
            "tokenizer"
        }
        assert place(FLUX, 100 * GB, hardware, "model").homes["vae"] == "model"
        assert not offloads(place(FLUX, 1 * GB, hardware, "none"))


@given(
    st.dictionaries(
        st.sampled_from(list("abcdef")),
        st.tuples(st.integers(0, 1000), st.integers(1, 20), st.booleans()),
        min_size=1,
    ),
    st.integers(0, 3000),
)
def test_a_placement_never_takes_more_than_the_budget(
    drawn: dict[str, tuple[int, int, bool]], budget: int
) -> None:
    weights = {
        name: Weights(size, min(size, layer), movable)
        for name, (size, layer, movable) in drawn.items()
    }
    try:
        found = place(weights, budget, NEW)
    except OutOfMemory:
        largest = max(one.largest for one in weights.values())
        fixed = sum(one.bytes for one in weights.values() if not one.movable)
        assert 2 * largest > budget - fixed
        return
    stay = sum(one.bytes for name, one in weights.items() if found.homes[name] == "device")
    fixed = sum(one.bytes for one in weights.values() if not one.movable)
    assert stay + found.room <= budget or fixed > budget
    for name, one in weights.items():
        if found.homes[name] == "model" and fixed <= budget:
            assert one.bytes <= found.room


def test_the_longest_unused_leaves_first_and_no_more_than_must() -> None:
    inside = {"text": 4, "vae": 2, "unet": 10}
    assert lru_victims(inside, 4, 20) == []
    assert lru_victims(inside, 5, 20) == ["text"]
    assert lru_victims(inside, 9, 20) == ["text", "vae"]
    assert lru_victims(inside, 99, 20) == ["text", "vae", "unet"]


def test_slices_and_tiles_only_where_nothing_else_fits() -> None:
    channels = (128, 256, 512, 512)
    one = decode_bytes(1, 1024, 768, channels, 2)
    assert one == 3 * 1024 * 768 * 256 * 2
    assert vae_plan(4, 1024, 768, channels, 2, 4 * one) == VaePlan()
    assert vae_plan(4, 1024, 768, channels, 2, 4 * one - 1) == VaePlan(slicing=True)
    assert vae_plan(4, 1024, 768, channels, 2, one - 1) == VaePlan(slicing=True, tiling=True)
    assert vae_plan(1, 1024, 768, channels, 2, one - 1) == VaePlan(tiling=True)
    assert vae_plan(1, 1024, 768, channels, 2, one) == VaePlan()


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside took together."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                storage = value.untyped_storage()
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._alive = {key: one for key, one in self._alive.items() if not one[0].expired()}
        self.most = max(self.most, sum(size for _, size in self._alive.values()))
        return result


@pytest.mark.parametrize("channels", [(16, 32, 64, 64), (8, 16)])
@torch.inference_mode()
def test_the_estimate_of_a_decoding_is_a_lower_bound_and_not_far_off(
    channels: tuple[int, ...],
) -> None:
    vae = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=2,
        norm_num_groups=8,
    ).eval()
    latents = torch.zeros(2, 4, 24, 16)
    with Peak() as peak:
        picture = vae.decode(latents).sample
    height, width = picture.shape[2:]
    estimate = decode_bytes(2, width, height, channels, 4)
    assert 0.5 * peak.most <= estimate <= peak.most, (estimate, peak.most)


def test_the_ladder() -> None:
    assert fallbacks("rows", 8) == ("free", "halve")
    assert fallbacks("rows", 1) == fallbacks("rows", 8, exact=True) == ("free",)
    assert fallbacks("pictures", 1) == ("free", "tile")
    assert fallbacks("pictures", 4) == ("free", "slice", "tile")
