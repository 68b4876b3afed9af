"""What each family is and can do, from configs alone: menus and checks need no torch for it.

The family's own file, named by its id, does the work.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.families.capabilities import Configs, Sizes, Supports, fitting

LCM_PIPELINE = "LatentConsistencyModelPipeline"
EMPTY_IS_ZEROS = "force_zeros_for_empty_prompt"
NATIVE = 128
"""Latents along a side of the picture size that diffusers defaults to; no config says it."""
DISTILLED = 3.5


def vae_factor(configs: Configs) -> int:
    """Pixels a latent stands for along a side."""
    return int(2 ** (len(configs["vae"]["block_out_channels"]) - 1))


class StableDiffusionTraits:
    """Of SD 1.x/2.x and latent consistency models."""

    id = "sd"
    label = "Stable Diffusion 1.x / 2.x"
    components: tuple[str, ...] = ("tokenizer", "text_encoder", "unet", "vae")
    optional: tuple[str, ...] = ()
    denoiser = "unet"
    index_options: tuple[str, ...] = ()

    def sizes(self, configs: Configs) -> Sizes:
        factor = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
        size = configs["unet"]["sample_size"]
        h, w = (size, size) if isinstance(size, int) else size
        # Below this the UNet's innermost level would be empty.
        least = factor * 2 ** (len(configs["unet"]["block_out_channels"]) - 1)
        most = max(2048, 2 * factor * max(h, w))
        return Sizes(native=(w * factor, h * factor), multiple=factor, least=least, most=most)

    def supports(self, configs: Configs) -> Supports:
        scheduler, sizes = configs["scheduler"], self.sizes(configs)
        v_prediction = scheduler.get("prediction_type") == "v_prediction"
        kind = "v-prediction" if v_prediction else "diffusion"
        samplers = fitting("diffusion", scheduler)
        if configs["unet"].get("time_cond_proj_dim") is None:
            return Supports(kind, samplers, sizes, prompt_weights=True)
        most = 1000
        if configs["model_index"].get("_class_name") == LCM_PIPELINE:
            # The one sampler that diffusers' pipeline of this name runs.
            samplers, most = ("lcm",), scheduler.get("original_inference_steps", 50)
        return Supports(
            "latent consistency",
            samplers,
            sizes,
            guidance="embedded",
            negative_prompt=False,
            steps=(1, most),
            prompt_weights=True,
            suggested={"sampler": "lcm", "steps": 4, "guidance_scale": 8.0},
        )


class StableDiffusionXLTraits(StableDiffusionTraits):
    """Of SDXL."""

    id = "sdxl"
    label = "Stable Diffusion XL"
    components = (
        "tokenizer",
        "text_encoder",
        "tokenizer_2",
        "text_encoder_2",
        "unet",
        "vae",
    )
    index_options = (EMPTY_IS_ZEROS,)


class StableDiffusion3Traits:
    """Of SD 3 and 3.5."""

    id = "sd3"
    label = "Stable Diffusion 3 / 3.5"
    components = (
        "tokenizer",
        "text_encoder",
        "tokenizer_2",
        "text_encoder_2",
        "tokenizer_3",
        "text_encoder_3",
        "transformer",
        "vae",
    )
    optional = ("tokenizer_3", "text_encoder_3")
    denoiser = "transformer"
    index_options: tuple[str, ...] = ()

    def sizes(self, configs: Configs) -> Sizes:
        factor, transformer = vae_factor(configs), configs["transformer"]
        native = transformer["sample_size"] * factor
        multiple = transformer["patch_size"] * factor
        most = transformer["pos_embed_max_size"] * multiple
        return Sizes((native, native), multiple=multiple, least=multiple, most=most)

    def supports(self, configs: Configs) -> Supports:
        return Supports(
            "flow",
            fitting("flow", configs["scheduler"]),
            self.sizes(configs),
            skip_layers=configs["transformer"]["num_layers"],
            suggested={"sampler": "flow_euler", "steps": 28, "guidance_scale": 7.0},
        )


class FluxTraits:
    """Of FLUX.1."""

    id = "flux"
    label = "FLUX.1"
    components = (
        "tokenizer",
        "text_encoder",
        "tokenizer_2",
        "text_encoder_2",
        "transformer",
        "vae",
    )
    optional: tuple[str, ...] = ()
    denoiser = "transformer"
    index_options: tuple[str, ...] = ()

    def sizes(self, configs: Configs) -> Sizes:
        factor = vae_factor(configs)
        side = NATIVE * factor
        return Sizes((side, side), multiple=2 * factor, least=2 * factor, most=2 * side)

    def supports(self, configs: Configs) -> Supports:
        told = configs["transformer"].get("guidance_embeds", False)
        return Supports(
            "flow",
            # Flow Heun takes neither the family's noise levels nor a shift by size.
            ("flow_euler",),
            self.sizes(configs),
            guidance="negative_prompt",
            distilled_guidance=DISTILLED if told else None,
            suggested={
                "sampler": "flow_euler",
                "steps": 28 if told else 4,
                "guidance_scale": 1.0,
            },
        )


T5_TOKENS: Mapping[str, int] = {"sd3": 256, "flux": 512}
"""Tokens that T5 reads, by family; every other encoder reads as many as its tokenizer takes."""
