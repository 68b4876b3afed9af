"""Stage 9: distil a four-step LCM-LoRA for the shipped model, `models/emoji-lcm`.

    python -m training.stages.lcm --minutes 10 [--resume]

Latent consistency distillation: from every point of a sampling path the student learns to name the
path's end, by agreeing with itself one solver step further on. The teacher is the shipped model
under guidance of a fixed scale, so that the student needs none.
Source: Luo et al. 2023, arXiv:2310.04378, and as a LoRA arXiv:2311.05556; that the target needs no
average of the student, and the loss: Song & Dhariwal 2023, arXiv:2310.14189.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import LCMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from training.data.tokenizer import tokenize
from training.optim import ddpm
from training.optim.optimizers import Optimizers
from training.optim.stage import Task
from training.stages.samples import PROMPTS, generate, tile
from training.stages.shipped import SiblingConfig, load_shipped, run_sibling, shipped_corpus

# What diffusers' LCMScheduler divides by; the student must be trained with the same.
TIMESTEP_SCALING = 10.0
SIGMA_DATA = 0.5
TARGETS = (
    "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out",
    "conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv",
)  # fmt: skip


@dataclass(frozen=True)
class Config(SiblingConfig):
    """Configuration of this stage's run.

    Args:
        skip: timesteps that the teacher goes at once; fewer follow its path more closely, more let
            what the end looks like spread faster over the path.
        guidance: the teacher's scale, as diffusers counts it (1 is none).
    """

    batch: int = 48
    warmup: float = 0.05
    rank: int = 48
    skip: int = 40
    guidance: float = 4.0
    caption_dropout: float = 0.05
    scene_share: float = 0.2
    rate: float = 1e-3
    steps: int = 4


Denoiser = Callable[[Tensor, Tensor], Tensor]


def boundary(t: Tensor) -> tuple[Tensor, Tensor]:
    """c_skip and c_out, (B, 1, 1, 1) each: 1 and 0 at t = 0, where a clean latent is its own end.

    Math: c_skip = σ²/((s·t)² + σ²), c_out = s·t/√((s·t)² + σ²), s = 10, σ = ½
    Args:
        t: timesteps, (B,).
    Source: Luo et al. 2023, Eq. 9, arXiv:2310.04378.
    """
    scaled = (TIMESTEP_SCALING * t.double()).view(-1, 1, 1, 1)
    total = scaled.square() + SIGMA_DATA**2
    return (SIGMA_DATA**2 / total).float(), (scaled / total.sqrt()).float()


def clean(x: Tensor, noise: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """x̂_0 = (x_t − √(1 − ᾱ_t)·ε)/√ᾱ_t."""
    level = alpha_bar[t].view(-1, 1, 1, 1)
    return (x - (1 - level).sqrt() * noise) / level.sqrt()


def consistency(denoiser: Denoiser, x: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Consistency function, the end of the path through x_t: f = c_skip·x_t + c_out·x̂_0."""
    skip, out = boundary(t)
    return skip * x + out * clean(x, denoiser(x, t), t, alpha_bar)


def ddim_step(x: Tensor, noise: Tensor, t: Tensor, earlier: Tensor, alpha_bar: Tensor) -> Tensor:
    """One deterministic step of the solver from t to an earlier timestep.

    Math: x' = √ᾱ'·x̂_0 + √(1 − ᾱ')·ε
    Source: Song, Meng & Ermon 2020, Eq. 12 with σ = 0, arXiv:2010.02502.
    """
    return ddpm.add_noise(clean(x, noise, t, alpha_bar), noise, earlier, alpha_bar)


def pseudo_huber(a: Tensor, b: Tensor) -> Tensor:
    """√(‖a − b‖² + c²) − c by row, c = 0.00054·√dim: of length like an error, smooth at 0."""
    c = 0.00054 * math.sqrt(a[0].numel())
    return ((a - b).square().flatten(1).sum(1) + c**2).sqrt() - c


def distillation_errors(
    student: Denoiser, teacher: Denoiser, x0: Tensor, noise: Tensor, t: Tensor, earlier: Tensor,
    alpha_bar: Tensor,
) -> Tensor:  # fmt: skip
    """Distance of the student from itself one of the teacher's steps further on, (B,).

    Math: d(f(x_t, t), sg f(x̂_t', t')), x̂_t' = DDIM(x_t, ε_teacher, t → t')
    Args:
        student, teacher: (x_t, t) to predicted noise; guidance and conditioning bound beforehand.
        t, earlier: where each row starts and where the teacher takes it, (B,) int64.
    """
    x = ddpm.add_noise(x0, noise, t, alpha_bar)
    with torch.no_grad():
        further = ddim_step(x, teacher(x, t), t, earlier, alpha_bar)
        target = consistency(student, further, earlier, alpha_bar)
    return pseudo_huber(consistency(student, x, t, alpha_bar), target)


def add_adapter(unet: UNet2DConditionModel, rank: int) -> nn.ModuleDict:
    """Lay an untrained LoRA over a UNet, and return what learns: its layers by their place."""
    unet.requires_grad_(False)
    config = LoraConfig(
        r=rank, lora_alpha=rank, init_lora_weights=True, target_modules=list(TARGETS)
    )
    unet.add_adapter(config)
    parts = {
        name.replace(".", "-"): module
        for name, module in unet.named_modules()
        if name.endswith((".lora_A", ".lora_B"))
    }
    return nn.ModuleDict(parts)


def adapted(model: str, rank: int, weights: dict[str, Tensor]) -> StableDiffusionPipeline:
    """The shipped model with these weights of `add_adapter` laid over it, float32."""
    pipeline = load_shipped(model)
    add_adapter(pipeline.unet, rank).load_state_dict(weights)
    return pipeline


class ConsistencyTask(Task):
    """Latent consistency distillation into a LoRA, see `stage.Task`."""

    def __init__(self, config: Config, cache: Path, stream: tuple[int, ...]) -> None:
        self._config = config
        teacher, student = load_shipped(config.model), load_shipped(config.model)
        self._corpus = shipped_corpus(teacher, cache, config.scene_share, stream)
        self._text = teacher.text_encoder.bfloat16()
        self._teacher, self._student = teacher.unet.bfloat16(), student.unet.bfloat16()
        self.model: nn.Module = add_adapter(self._student, config.rank)
        self._alpha_bar = ddpm.alphas_cumprod()
        self._rows = config.batch // config.workers
        with torch.no_grad():
            self._empty = self._text(tokenize(teacher.tokenizer, [""])).last_hidden_state

    def loss(self) -> Tensor:
        """The mean distance of this worker's rows."""
        batch = self._corpus.draw(self._rows, self._config.caption_dropout)
        with torch.no_grad():
            hidden = self._text(batch.tokens).last_hidden_state
        both = torch.cat([self._empty.expand_as(hidden), hidden])

        def student(x: Tensor, t: Tensor) -> Tensor:
            found: Tensor = self._student(x.bfloat16(), t, hidden, return_dict=False)[0]
            return found.float()

        def teacher(x: Tensor, t: Tensor) -> Tensor:
            rows = x.bfloat16().repeat(2, 1, 1, 1), t.repeat(2)
            without, within = self._teacher(*rows, both, return_dict=False)[0].float().chunk(2)
            return torch.lerp(without, within, self._config.guidance)

        t = 1 + ddpm.uniform_timesteps(self._rows, ddpm.STEPS - 1)
        earlier = (t - self._config.skip).clamp(min=0)
        noise = torch.randn_like(batch.latents)
        return distillation_errors(
            student, teacher, batch.latents, noise, t, earlier, self._alpha_bar
        ).mean()

    def make_optimizers(self, masters: dict[str, Tensor]) -> Optimizers:
        """AdamW alone: a LoRA's factors are thin."""
        rate = self._config.rate
        return Optimizers(
            torch.optim.AdamW(masters.values(), lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
        )

    def show(self, average: dict[str, Tensor], folder: Path, step: int) -> None:
        """The fixed prompts in a few steps."""
        pipeline = adapted(self._config.model, self._config.rank, average)
        few = {"steps": self._config.steps, "guidance_scale": 1.0, "sampler": LCMScheduler}
        tile(generate(pipeline, PROMPTS, **few), 8).save(folder / f"samples-{step:06d}.png")


def lora_state(unet: UNet2DConditionModel) -> dict[str, Any]:
    """The LoRA of a UNet under the names that `load_lora_weights` reads, float16."""
    found = get_peft_model_state_dict(unet)
    return {name: value.half().contiguous() for name, value in found.items()}


def export(config: Config, average: dict[str, Tensor], out: Path) -> int:
    """Write `pytorch_lora_weights.safetensors`; returns its bytes."""
    pipeline = adapted(config.model, config.rank, average)
    out.mkdir(parents=True, exist_ok=True)
    StableDiffusionPipeline.save_lora_weights(out, unet_lora_layers=lora_state(pipeline.unet))
    return (out / "pytorch_lora_weights.safetensors").stat().st_size


if __name__ == "__main__":
    run_sibling(__doc__, "lcm", ConsistencyTask, Config, export)
