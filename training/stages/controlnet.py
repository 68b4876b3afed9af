"""Stage 11: train a ControlNet of one kind, `models/emoji-controlnet-<kind>`.

    python -m training.stages.controlnet canny --minutes 6 [--resume]

The UNet stays as it is. The ControlNet is its encoder without the attention to text: what it has
to say is where things are; what they are, the UNet hears from the prompt. Its convolutions start
as copies of the UNet's, its outputs at zero.
Source: Zhang, Rao & Agrawala 2023, arXiv:2302.05543.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data.concepts import load_concepts
from training.data.conditions import DRAWN, KINDS, load_conditioned
from training.data.drawings import load_drawings
from training.data.latents import encode_pictures, prepare_latents
from training.data.scenes import load_scenes
from training.data.tokenizer import tokenize
from training.optim import ddpm
from training.optim.checkpoint import load_checkpoint, save_checkpoint
from training.optim.optimizers import Optimizers, muon_and_adam
from training.optim.run_folder import log, stage_parser
from training.optim.stage import Task, load_average, train
from training.stages.decoder import load_vae
from training.stages.samples import tile
from training.stages.shipped import SiblingConfig, load_shipped

# AdamW's: what starts at zero, and what touches pixels and latents.
BY_ELEMENT = ("controlnet_", "conv_in", "embedding")


@dataclass(frozen=True)
class Config(SiblingConfig):
    """Configuration of this stage's run.

    Args:
        kind: one of `conditions.KINDS`.
        pictures: how many different ones, with their maps.
        start: the kind whose trained ControlNet this one starts from; none if empty.
    """

    kind: str = "canny"
    start: str = ""
    batch: int = 96
    minutes: float = 6.0
    caption_dropout: float = 0.2
    pictures: int = 3000
    matrix_rate: float = 0.01
    rate: float = 1e-3
    noisy_boost: float = 3.0


def build_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """An untrained ControlNet with the UNet's convolutions; its outputs are zero."""
    config = unet.config
    controlnet = ControlNetModel(
        in_channels=config.in_channels,
        down_block_types=("DownBlock2D",) * len(config.block_out_channels),
        mid_block_type="UNetMidBlock2D",
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        cross_attention_dim=config.cross_attention_dim,
        attention_head_dim=config.attention_head_dim,
        addition_embed_type=config.addition_embed_type,
        addition_embed_type_num_heads=config.addition_embed_type_num_heads,
        conditioning_embedding_out_channels=(16, 32, 64, 96),
    )
    theirs, own = unet.state_dict(), controlnet.state_dict()
    shared = {
        name: value
        for name, value in theirs.items()
        if name in own and own[name].shape == value.shape
    }
    controlnet.load_state_dict(own | shared)
    return controlnet


class Maps:
    """Rows of one kind: latents, captions and maps."""

    def __init__(self, config: Config, cache: Path, rng: np.random.Generator) -> None:
        self._rng = rng
        self._known = load_conditioned(cache, config.kind, config.pictures, seed=0)
        self._latents = self._encode(config, cache)

    def _encode(self, config: Config, cache: Path) -> Tensor:
        """Latents of all pictures, kept in the cache."""
        path = cache / f"conditions-{config.kind}-{config.pictures}.safetensors"
        if not path.exists():
            drawings, scenes = load_drawings(cache), load_scenes(cache)
            concepts = load_concepts(drawings.names)
            vae = prepare_latents(load_vae(cache), drawings, concepts, scenes, cache / "unet").vae
            pixels = self._known.pixels
            starts = range(0, len(pixels), 32)
            with torch.no_grad():
                found = [encode_pictures(vae, pixels[i : i + 32]) for i in starts]
            scale = float(vae.config.scaling_factor)
            save_checkpoint(path, {"latents": torch.cat(found) * scale}, {})
        return load_checkpoint(path)[0]["latents"]

    def draw(self, count: int) -> tuple[Tensor, list[str], NDArray[np.uint8]]:
        """Latents (count, 4, 16, 16), captions, and maps (count, 128, 128, 3)."""
        rows = self._rng.integers(len(self._known.captions), size=count)
        maps = np.stack([self._known.maps[row] for row in rows])
        return self._latents[rows], [self._known.captions[row] for row in rows], maps


def as_condition(maps: NDArray[np.uint8]) -> Tensor:
    """Maps (N, H, W, 3) as a ControlNet takes them, (N, 3, H, W) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(maps)).permute(0, 3, 1, 2).float() / 255


class ControlNetTask(Task):
    """A ControlNet behind the frozen UNet, see `stage.Task`."""

    def __init__(self, config: Config, cache: Path, stream: tuple[int, ...]) -> None:
        self._config = config
        pipeline = load_shipped(config.model)
        self._rng = np.random.default_rng((13, KINDS.index(config.kind), *stream))
        self._maps = Maps(config, cache, self._rng)
        self.model: nn.Module = build_controlnet(pipeline.unet)
        if config.start:
            trained = cache / f"controlnet-{config.start}" / "checkpoint.safetensors"
            self.model.load_state_dict(load_average(trained))
        self._tokenizer = pipeline.tokenizer
        self._text, self._unet = pipeline.text_encoder.bfloat16(), pipeline.unet.bfloat16()
        self._alpha_bar = ddpm.alphas_cumprod()
        self._weights = ddpm.noise_weight(self._alpha_bar, 5.0, config.noisy_boost)
        self._rows = config.batch // config.workers

    def loss(self) -> Tensor:
        """The weighted error of the noise that the UNet predicts with the map's help."""
        latents, captions, maps = self._maps.draw(self._rows)
        dropped = self._rng.random(self._rows) < self._config.caption_dropout
        said = ["" if drop else text for drop, text in zip(dropped, captions, strict=True)]
        with torch.no_grad():
            hidden = self._text(tokenize(self._tokenizer, said)).last_hidden_state
        condition = as_condition(maps).bfloat16()

        def denoiser(x: Tensor, t: Tensor) -> Tensor:
            half = x.bfloat16()
            down, mid = self.model(half, t, hidden, condition, return_dict=False)
            output: Tensor = self._unet(
                half, t, hidden, down_block_additional_residuals=down,
                mid_block_additional_residual=mid, return_dict=False,
            )[0]  # fmt: skip
            return output.float()

        t = ddpm.uniform_timesteps(self._rows, ddpm.STEPS)
        noise = torch.randn_like(latents)
        errors = ddpm.ddpm_step(denoiser, latents, noise, t, self._alpha_bar)
        return (errors * self._weights[t]).mean()

    def make_optimizers(self, masters: dict[str, Tensor]) -> Optimizers:
        """Muon for the copied matrices, AdamW for the rest."""
        config = self._config
        return muon_and_adam(masters.items(), BY_ELEMENT, config.matrix_rate, config.rate)

    def show(self, average: dict[str, Tensor], folder: Path, step: int) -> None:
        """Eight maps above what is drawn to them."""
        from PIL import Image

        from training.stages.controlled_pictures import controlled_pipeline, generate_to_maps

        _, captions, maps = self._maps.draw(8)
        pipeline = controlled_pipeline(self._config.model, [restored(self._config, average)])
        pictures = generate_to_maps(pipeline, captions, [maps], steps=12)
        shown = [*(Image.fromarray(one) for one in maps), *pictures]
        tile(shown, 8).save(folder / f"samples-{step:06d}.png")


def restored(config: Config, average: dict[str, Tensor]) -> ControlNetModel:
    """The ControlNet of a moving average, float32."""
    controlnet = build_controlnet(load_shipped(config.model).unet)
    controlnet.load_state_dict(average)
    return controlnet.eval()


def export(controlnet: ControlNetModel, out: Path) -> int:
    """Write the ControlNet in float16 and return the bytes of its weights."""
    controlnet.half().save_pretrained(out, safe_serialization=True)
    return sum(path.stat().st_size for path in out.glob("*.safetensors"))


def main() -> None:
    """The command line of this stage."""
    parser = stage_parser(__doc__, Config.minutes)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--model", default=Config.model, help="the shipped model")
    parser.add_argument("--out", type=Path, help="default: models/emoji-controlnet-KIND")
    args = parser.parse_args()
    config = Config(kind=args.kind, minutes=args.minutes, model=args.model)
    if args.kind in DRAWN:
        # What a caption names, the UNet draws by heart: without it, only the map tells.
        config = replace(config, caption_dropout=0.5, pictures=8000)
    if args.kind == "scribble":
        # Broad outlines instead of thin edges: most is learnt already.
        config = replace(config, start="canny")
    name = f"controlnet-{args.kind}"
    path = train(name, ControlNetTask, config, args.cache, args.resume)
    out = args.out or Path("models") / f"emoji-{name}"
    size = export(restored(config, load_average(path)), out)
    log.info("%s: %.1f MB of weights", out, size / 1e6)
    figures = json.loads((args.cache / name / "config.json").read_text())
    log.info("trained with %s", figures)


if __name__ == "__main__":
    main()
