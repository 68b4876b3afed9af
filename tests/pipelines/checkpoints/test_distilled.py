"""Networks cut down from SD and SDXL: configs are read from names and shapes, and they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from pipelines import Request
from pipelines.checkpoints.catalog import find
from pipelines.checkpoints.formats.header import Header, TensorRow
from pipelines.checkpoints.identification.identify import recognise
from pipelines.checkpoints.identification.unet_blocks import (
    blocks_of_config,
    blocks_of_file,
    fitted_config,
)
from pipelines.checkpoints.single_file import published_configs
from pipelines.checkpoints.single_file_loader import empty_module
from pipelines.errors import ModelUnavailable
from pipelines.model_manager.manager import PipelineManager
from tests.helpers import ldm, tiny, tiny_families
from tests.parity import test_families

pytestmark = pytest.mark.usefixtures("one_thread")
CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "SSD-1B": ("sdxl", {
        "transformer_layers_per_block": [1, [2, 2], [4, 4]], "mid_block_type": "UNetMidBlock2D",
        "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
    }),
    "Vega": ("sdxl", {
        "transformer_layers_per_block": [1, [1, 1], [2, 2]], "mid_block_type": "UNetMidBlock2D",
        "reverse_transformer_layers_per_block": [[2, 2, 2], [1, 1, 1], 1],
    }),
    "KOALA-700M": ("sdxl", {
        "transformer_layers_per_block": [1, 2, 5], "layers_per_block": 1, "mid_block_type": None,
    }),
    "KOALA-1B": ("sdxl", {"transformer_layers_per_block": [1, 2, 6], "layers_per_block": 1}),
    "BK-SDM base": ("sd1", {"layers_per_block": 1}),
    "BK-SDM small": ("sd1", {"layers_per_block": 1, "mid_block_type": None}),
    "BK-SDM tiny": ("sd1", {
        "layers_per_block": 1, "mid_block_type": None, "block_out_channels": [320, 640, 1280],
        "down_block_types": [CROSS_DOWN] * 3, "up_block_types": [CROSS_UP] * 3,
    }),
    "SDXL": ("sdxl", {}), "SD 1.5": ("sd1", {}), "SD 2.1": ("sd2", {}),
}  # fmt: skip
"""Family and what differs in the published config."""


def shapes_of(config: dict[str, Any], layout: str) -> dict[str, tuple[int, ...]]:
    state = empty_module(diffusers.UNet2DConditionModel, config).state_dict()
    names = ldm.unet(state, config["layers_per_block"]) if layout == "original" else state
    return {name: tuple(tensor.shape) for name, tensor in names.items()}


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_configs_are_read_from_the_shapes(name: str, layout: str) -> None:
    family, changed = PUBLISHED[name]
    plain = dict(published_configs(family)["unet"])
    wanted = {**plain, **changed}
    shapes = shapes_of(wanted, layout)
    blocks = blocks_of_file(shapes, "", layout == "original")
    assert blocks == blocks_of_config(wanted)
    made = dict(fitted_config(plain, blocks, "x", layout == "original"))
    assert (made == plain) == (not changed)
    assert shapes_of(made, layout) == shapes
    heads = [module.heads for module in modules(made)]
    assert heads == [module.heads for module in modules(wanted)]
    found = recognise(Header({n: TensorRow("F16", s, (0, 0)) for n, s in shapes.items()}, {}), "x")
    assert found.family == family and found.variant.startswith("distilled") == bool(changed)


def modules(config: dict[str, Any]) -> list[Any]:
    net = empty_module(diffusers.UNet2DConditionModel, config)
    return [one for one in net.modules() if type(one).__name__ == "Attention"]


SMALL: dict[str, dict[str, Any]] = {
    "asymmetric": {
        "transformer_layers_per_block": [1, [2]], "mid_block_type": "UNetMidBlock2D",
        "reverse_transformer_layers_per_block": [[2, 4], 1],
    },
    "no middle": {"mid_block_type": None, "transformer_layers_per_block": [1, 3]},
    "deeper": {"transformer_layers_per_block": [1, 3]},
}  # fmt: skip


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("kind", SMALL)
def test_they_draw_what_diffusers_draws(tmp_path: Path, kind: str, layout: str) -> None:
    plain = tiny_families.sdxl()
    plain.save_pretrained(tmp_path / "xl", safe_serialization=True)
    pipe = tiny_families.sdxl()
    torch.manual_seed(9)
    pipe.unet = tiny.unet(**{**tiny_families.XL, **SMALL[kind]})
    pipe.save_pretrained(tmp_path / "cut", safe_serialization=True)
    file = tmp_path / "one.safetensors"
    if layout == "original":
        save_file(ldm.sdxl_checkpoint(pipe), file)
    else:
        save_file(ldm.under("unet.", pipe.unet.state_dict()), file)
    request = Request(
        model=file.name, prompt="an apple", steps=3, sampler="euler", guidance_scale=3.0,
        width=32, height=32,
    )  # fmt: skip
    # The plain folder comes first in no order: the cut one's config must not be what is taken.
    (tmp_path / "cut").rename(tmp_path.parent / f"{tmp_path.name}-cut")
    (ours,) = test_families.ours(tmp_path, [request])
    (tmp_path.parent / f"{tmp_path.name}-cut").rename(tmp_path / "cut")
    (folder,) = test_families.ours(tmp_path, [request.replace(model="cut")])
    assert (ours - folder).abs().max() <= 1e-5


def test_what_no_config_tells_is_named(tmp_path: Path) -> None:
    config = dict(published_configs("sdxl")["unet"])
    shapes = shapes_of(config, "diffusers")
    gone = {
        "one attention": "up_blocks.0.attentions.1.",
        "a layer of the way up": "up_blocks.1.resnets.2.",
        "a level": "down_blocks.1.",
    }
    for prefix in gone.values():
        left = {n: s for n, s in shapes.items() if not n.startswith(prefix)}
        blocks = blocks_of_file(left, "", False)
        with pytest.raises(ModelUnavailable, match="in a way that no config tells"):
            fitted_config(config, blocks, "x", False)


def test_a_published_one_is_listed_as_usable(tmp_path: Path) -> None:
    """A whole SSD-1B, header alone, with the tokenizers of a model of its vocabulary."""
    config = {**published_configs("sdxl")["unet"], **PUBLISHED["SSD-1B"][1]}
    names = {f"model.diffusion_model.{n}": s for n, s in shapes_of(config, "original").items()}
    texts = {
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight":
            (49408, 768),
        "conditioner.embedders.1.model.token_embedding.weight": (49408, 1280),
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    }  # fmt: skip
    ldm.write_header(tmp_path / "ssd.safetensors", {**names, **texts})
    for part in ("tokenizer", "tokenizer_2"):
        tiny.tokenizer().save_pretrained(tmp_path / "ssd" / part)
    (info,) = [one for one in find([tmp_path]) if one.id == "ssd.safetensors"]
    assert info.problem is None and info.single is not None
    manager = PipelineManager([tmp_path], device="cpu")
    assert manager.library.open("ssd.safetensors").configs["unet"]["mid_block_type"] == (
        "UNetMidBlock2D"
    )


def test_a_network_without_self_attention_is_named(tmp_path: Path) -> None:
    """As SDXS is, whose outer level has cross-attention alone."""
    config = published_configs("sd2")["unet"]
    names = {n: s for n, s in shapes_of(dict(config), "diffusers").items()
             if not ("down_blocks.0." in n and ".attn1." in n)}  # fmt: skip
    ldm.write_header(tmp_path / "sdxs-512.safetensors", names)
    for part in ("tokenizer", "text_encoder", "vae"):
        (tmp_path / "sdxs-512" / part).mkdir(parents=True)
    (info,) = [one for one in find([tmp_path]) if one.id == "sdxs-512.safetensors"]
    assert info.problem and "has no self-attention" in info.problem
