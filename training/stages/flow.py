"""Stage 10: train a flow-matching transformer on the same latents, `models/emoji-flow`.

    python -m training.stages.flow --minutes 60 [--resume]

A small Stable Diffusion 3: joint attention over picture and text, rectified flow, `flow_euler`.
Source: Esser et al. 2024, arXiv:2403.03206; Liu, Gong & Liu 2022, arXiv:2209.03003.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from torch import Tensor, nn

from training.optim.optimizers import Optimizers, muon_and_adam
from training.optim.stage import Task
from training.stages.flow_parts import (
    EmptyTokens,
    FlowText,
    build_transformer,
    export_flow,
    flow_pipeline,
)
from training.stages.samples import PROMPTS, generate, tile
from training.stages.shipped import SiblingConfig, load_shipped, run_sibling, shipped_corpus

# AdamW's: layers whose input or output is no hidden state, and the modulation of the norms.
BY_ELEMENT = ("pos_embed", "time_text_embed", "proj_out", "norm_out", "norm1")
TRAIN_STEPS = 1000
Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Config(SiblingConfig):
    """Configuration of this stage's run.

    Args:
        shift: of the sampler's noise levels, σ' = shift·σ/(1 + (shift − 1)·σ); 1 is none.
    """

    batch: int = 96
    layers: int = 6
    heads: int = 4
    head_width: int = 64
    patch: int = 2
    shift: float = 2.0
    caption_dropout: float = 0.1
    scene_share: float = 0.2
    matrix_rate: float = 0.02
    rate: float = 1e-3
    weight_decay: float = 0.01
    steps: int = 8
    guidance: float = 4.0
    minutes: float = 60.0
    checkpoint_minutes: float = 6.0


def noise_levels(count: int) -> Tensor:
    """σ of `count` rows, logit-normal: the middle of the path, where most is decided, is met most.

    Math: σ = 1/(1 + e^−u), u ~ N(0, 1), one u from each of `count` equal shares
    Source: Esser et al. 2024, Eq. 19 with m = 0, s = 1.
    """
    shares = (torch.randperm(count) + torch.rand(count)) / count
    u: Tensor = torch.special.ndtri(shares.double().clamp(1e-6, 1 - 1e-6))
    return u.sigmoid().float()


def interpolate(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """A point on the straight path from a clean latent to noise.

    Math: x_σ = (1 − σ)·x_0 + σ·ε
    Args:
        sigma: (B,) in 0..1.
    """
    return torch.lerp(x0, noise, sigma.view(-1, 1, 1, 1))


def flow_step(velocity: Velocity, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The squared error of the predicted velocity, one number a row.

    Math: ‖(ε − x_0) − v_θ(x_σ, σ)‖²/dim; the velocity is the path's derivative by σ
    Args:
        velocity: (x_σ, timestep in 0..1000) to the velocity; conditioning bound beforehand.
    Source: Esser et al. 2024, Eq. 6 to 8; Liu, Gong & Liu 2022, Eq. 1.
    """
    predicted = velocity(interpolate(x0, noise, sigma), sigma * TRAIN_STEPS)
    return (predicted - (noise - x0)).square().mean(dim=(1, 2, 3))


def make_transformer(config: Config, text: FlowText) -> SD3Transformer2DModel:
    """The untrained transformer for this text."""
    return build_transformer(
        text.width, config.layers, config.heads, config.head_width, config.patch
    )


class FlowTask(Task):
    """Rectified flow on the shipped model's latents, see `stage.Task`."""

    def __init__(self, config: Config, cache: Path, stream: tuple[int, ...]) -> None:
        self._config = config
        self._shipped = load_shipped(config.model)
        self._corpus = shipped_corpus(self._shipped, cache, config.scene_share, stream)
        self._text = FlowText(self._shipped.text_encoder)
        self._transformer = make_transformer(config, self._text)
        self.model: nn.Module = self._transformer
        # The pipeline appends 256 equal tokens where it finds no T5; one of them does for all.
        EmptyTokens.lay_over(self._transformer)
        self._text.bfloat16()
        self._rows = config.batch // config.workers

    def loss(self) -> Tensor:
        """The mean squared error of this worker's rows."""
        batch = self._corpus.draw(self._rows, self._config.caption_dropout)
        with torch.no_grad():
            context, pooled = self._text(batch.tokens, empty=1)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            found: Tensor = self._transformer(x.bfloat16(), context, pooled, t, return_dict=False)[
                0
            ]
            return found.float()

        noise = torch.randn_like(batch.latents)
        return flow_step(velocity, batch.latents, noise, noise_levels(self._rows)).mean()

    def make_optimizers(self, masters: dict[str, Tensor]) -> Optimizers:
        """Muon for matrices, AdamW for the rest."""
        config = self._config
        return muon_and_adam(
            masters.items(), BY_ELEMENT, config.matrix_rate, config.rate,
            decay=(config.weight_decay, 0.0),
        )  # fmt: skip

    def show(self, average: dict[str, Tensor], folder: Path, step: int) -> None:
        """The fixed prompts in a few steps."""
        pipeline = averaged_flow(self._config, average)
        pictures = generate(
            pipeline, PROMPTS, steps=self._config.steps, guidance_scale=self._config.guidance,
            sampler=FlowMatchEulerDiscreteScheduler,
        )  # fmt: skip
        tile(pictures, 8).save(folder / f"samples-{step:06d}.png")


def averaged_flow(config: Config, average: dict[str, Tensor]) -> StableDiffusion3Pipeline:
    """The moving average as a pipeline, float32."""
    shipped = load_shipped(config.model)
    transformer = make_transformer(config, FlowText(shipped.text_encoder)).eval()
    transformer.load_state_dict(average, strict=False)
    return flow_pipeline(shipped, transformer, config.shift)


def export(config: Config, average: dict[str, Tensor], out: Path) -> int:
    """Write the pipeline that diffusers loads, float16; returns the weights' bytes."""
    return export_flow(averaged_flow(config, average), out)


if __name__ == "__main__":
    run_sibling(__doc__, "flow", FlowTask, Config, export)
