"""What may be chosen to save memory: refused with what to do, and close to the plain pictures."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import nn
from transformers import T5Config, T5EncoderModel
from typer.testing import CliRunner

import app
from pipelines import InvalidRequest, Request, Studio, UnknownName
from pipelines.devices.memory_options import MemoryOptions
from pipelines.devices.quantization import QUANTIZATIONS, is_quantized, quantized_bytes, quantizes
from pipelines.model_manager.component_loader import measure
from pipelines.model_manager.manager import PipelineManager
from tests.helpers.lora_makers import save_with_loras
from tests.helpers.tiny_families import FLUX_SIZES, MAKERS

ROOT = Path(__file__).parents[3]
FLUX = {
    "model": "flux-dev", "prompt": "an apple", "sampler": "flow_euler", "steps": 3,
    "width": 32, "height": 32,
}  # fmt: skip


def installed(library: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        find_spec(library) is None, reason="pip install -r requirements-quantize.txt"
    )


QUANTIZED = [
    pytest.param("nf4", 0.2, marks=installed("bitsandbytes")),
    pytest.param("int8", 0.02, marks=installed("torchao")),
]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny FLUX whose layers are as wide as the scales of quantised numbers want them."""
    folder = tmp_path_factory.mktemp("zoo")
    pipe = MAKERS["flux-dev"]()
    sizes = {**FLUX_SIZES, "num_attention_heads": 4, "joint_attention_dim": 64}
    pipe.transformer = FluxTransformer2DModel(
        **sizes, num_layers=1, num_single_layers=1, guidance_embeds=True
    ).eval()
    pipe.text_encoder_2 = T5EncoderModel(
        T5Config(
            vocab_size=256,
            d_model=64,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    ).eval()
    pipe.save_pretrained(folder / "flux-dev", safe_serialization=True)
    return folder


@pytest.fixture(autouse=True)
def quick(one_thread: None) -> None:
    """All of these models are tiny."""


def test_names_are_checked_beforehand(zoo: Path) -> None:
    with pytest.raises(UnknownName, match=r"quantize 'nf5'; did you mean 'nf4'"):
        Studio(zoo, memory_options=MemoryOptions(quantize="nf5"))
    with pytest.raises(UnknownName, match="did you mean 'group'"):
        Studio(zoo, memory_options=MemoryOptions(offload="groups"))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="cudnn runs on cuda, not on cpu; take torch or math"):
        MemoryOptions(attention="cudnn").check_device("cpu")
    MemoryOptions(attention="cudnn").check_device("cuda:1")


def test_a_missing_package_is_said_with_its_command(tmp_path: Path) -> None:
    expected = [
        (["--quantize", "int8"], "needs torchao.*pip install -r requirements-quantize.txt"),
        (["--quantize", "nf4"], "needs bitsandbytes.*pip install -r requirements-quantize.txt"),
        (["--attention", "sage"], "needs sageattention.*pip install sageattention"),
    ]
    code = (
        "import sys, importlib.machinery as m\n"
        "find = m.PathFinder.find_spec\n"
        "gone = ('torchao', 'bitsandbytes', 'sageattention')\n"
        "m.PathFinder.find_spec = lambda name, *a: None if name in gone else find(name, *a)\n"
        "from typer.testing import CliRunner\nfrom app import app\n"
        f"words = ['generate', 'an apple', '--out', {str(tmp_path / 'a.png')!r}]\n"
        f"for options in {[options for options, _ in expected]!r}:\n"
        "    done = CliRunner().invoke(app, [*words, *options])\n"
        "    print(done.exit_code, ' '.join(done.output.split()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not (tmp_path / "a.png").exists()
    for line, (_, said) in zip(done.stdout.splitlines(), expected, strict=True):
        assert re.search(f"^2 .*{said}", line), line


def test_the_options_reach_the_manager(zoo: Path, tmp_path: Path, caplog: Any) -> None:
    words = ["generate", "an apple", "--model", "flux-dev", "--models", str(zoo), "--steps", "2"]
    words += ["--out", str(tmp_path / "a.png"), "--device", "cpu", "--width", "32"]
    with caplog.at_level("INFO"):
        result = CliRunner().invoke(
            app.app, [*words, "--height", "32", "--offload", "model", "--attention", "math"]
        )
    assert result.exit_code == 0, result.output
    assert any("beside the device text_encoder, text_encoder_2" in said for said in caplog.messages)


def test_which_weights_are_stored_in_fewer_bits() -> None:
    assert is_quantized("blocks.0.attn.to_q.weight", (64, 64))
    assert is_quantized("blocks.0.norm1.linear.weight", (192, 64)), "a quarter of FLUX"
    for name, shape in (
        ("conv_in.weight", (8, 4, 3, 3)), ("norm.weight", (64,)), ("attn.to_q.bias", (64,)),
        ("shared.weight", (32128, 64)), ("block.0.layer.1.DenseReluDense.wo.weight", (64, 64)),
    ):  # fmt: skip
        assert not is_quantized(name, shape), name
    shapes = {"a.weight": (64, 64), "a.bias": (64,), "conv.weight": (8, 4, 3, 3)}
    assert quantized_bytes(shapes, 4.5, 2) == 64 * 64 * 4.5 // 8 + 2 * 64 + 2 * 8 * 4 * 9
    assert quantizes("T5EncoderModel", False) and quantizes("UNet2DConditionModel", True)
    assert not quantizes("CLIPTextModel", False) and not quantizes("AutoencoderKL", False)


def linears(component: Any) -> int:
    return sum(type(one) is nn.Linear for one in component.modules())


@pytest.mark.parametrize(("name", "tolerance"), QUANTIZED)
def test_quantised_layers_are_smaller_and_nearly_the_same(name: str, tolerance: float) -> None:
    from pipelines.devices.quantization import quantize

    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 256)).eval()
    plain.requires_grad_(False)
    shapes = {key: tuple(value.shape) for key, value in plain.named_parameters()}
    x = torch.randn(4, 256)
    with torch.inference_mode():
        expected = plain(x)
        stored = quantize(plain, name).to("cpu")
        found = stored(x)
    assert float((found - expected).norm() / expected.norm()) <= tolerance
    size, guess = measure(stored), quantized_bytes(shapes, QUANTIZATIONS[name].bits, 4)
    assert abs(size - guess) <= 0.05 * guess, (size, guess)
    assert linears(stored) == 0 or name == "int8", "torchao changes weights, not layers"


@pytest.mark.parametrize(("name", "tolerance"), QUANTIZED)
def test_a_quantised_model_runs(zoo: Path, name: str, tolerance: float) -> None:
    request = Request(**FLUX)
    plain, small = (
        Studio(zoo, device="cpu"),
        Studio(zoo, device="cpu", memory_options=MemoryOptions(quantize=name)),
    )
    one, two = (torch.tensor(list(s.image(request).getdata())).float() for s in (plain, small))
    assert 0 < float((one - two).abs().mean()) <= 255 * tolerance
    loaded = [dict(s.manager.history[0].loaded) for s in (plain, small)]
    for part in ("transformer", "text_encoder_2"):
        assert loaded[1][part] < loaded[0][part]
    for part in ("text_encoder", "vae"):
        assert loaded[1][part] == loaded[0][part]
    assert plain.manager.fingerprint("flux-dev") != small.manager.fingerprint("flux-dev")


def test_loras_and_fewer_bits_exclude_each_other(tmp_path: Path) -> None:
    folder = save_with_loras(tmp_path)
    manager = PipelineManager([folder], device="cpu", memory_options=MemoryOptions(quantize="int8"))
    with pytest.raises(InvalidRequest, match="stored as int8; leave the LoRA or --quantize out"):
        manager.library.open("tiny").lora("tiny-one")


@pytest.fixture
def usual_attention() -> Iterator[None]:
    """diffusers keeps the last choice for the whole process."""
    from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

    yield
    _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)


@pytest.mark.usefixtures("usual_attention")
def test_another_attention_gives_the_same_numbers(zoo: Path) -> None:
    managers = [
        PipelineManager([zoo], device="cpu", memory_options=MemoryOptions(attention=one))
        for one in ("torch", "math")
    ]
    outputs = []
    for manager in managers:
        with manager.use("flux-dev") as model, torch.inference_mode():
            transformer = model.components["transformer"]
            chosen = {
                getattr(one.processor, "_attention_backend", None)
                for one in transformer.modules()
                if hasattr(one, "processor")
            }
            torch.manual_seed(0)
            inputs = torch.randn(1, 4, 8, 8), torch.tensor([500.0]), torch.randn(1, 6, 64)
            family = manager.library.open("flux-dev").family
            outputs.append(family.network(model)(*inputs, torch.randn(1, 16), torch.tensor([3.5])))
    assert chosen == {"_native_math"}
    assert float((outputs[0] - outputs[1]).abs().max()) <= 1e-5
