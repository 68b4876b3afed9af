"""Family spec: holds everything in which one model family differs from the others, as data.

It loads no torch. What a family's pipeline does around its network is code, in a file of its own,
which `FamilySpec.implementation` names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.devices.precision import DtypeName
from pipelines.errors import ModelUnavailable, first_line
from pipelines.families.capabilities import (
    Capabilities,
    Configs,
    GuidanceKind,
    Sizes,
    compatible_samplers,
)
from pipelines.samplers import Kind


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """Text encoder of a family: names its components and the length of its input.

    Attributes:
        tokenizer, encoder: as `model_index.json` names them.
        tokens: that it reads, marks of start and end included; None = as many as its tokenizer
            takes.
        optional: a model may leave it out.
    """

    tokenizer: str = "tokenizer"
    encoder: str = "text_encoder"
    tokens: int | None = None
    optional: bool = False


def _as_the_row_says(supports: Capabilities, configs: Configs) -> Capabilities:
    return supports


@dataclass(frozen=True, slots=True, eq=False)
class FamilySpec:
    """Model family: says in one row in what it differs. Each is one object, equal to itself alone.

    Attributes:
        id: short and lasting; `python app.py models` shows it.
        label: its name for people.
        pipelines: the diffusers classes that it serves, as `model_index.json` names them.
        implementation: `module:class` of the torch half, a `Family`.
        text_encoders: in loading order.
        kind: of its samplers.
        latent_channels: of the published models' VAE, which tell such a VAE from others.
        sizes: the picture sizes of a model, from its configs.
        denoiser: the component that evaluates rows.
        index_options: entries of `model_index.json` that decide pixels.
        guidance: how `guidance_scale` acts.
        prompt_weights: whether it takes `(red:1.2)` and `BREAK` in prompts.
        clip_skip: whether the last layers of its CLIP encoders may be left out.
        suggested: Request fields for a model nobody has written a preset for.
        refine: what a model's configs change in the capabilities that the row gives.
        trained_in: the numbers whose range its networks need.
        vae_fits_float16: whether its VAE does without a wider range than float16's.
        lora_loader: the mixin of diffusers that reads its LoRAs' files; None = there are none.
        control_adapter: `module:class` of a `ControlNetAdapter`, whose residuals its network takes
            after what `Family.inputs` gives; None = no ControlNet steers it.
        gguf: whether its denoiser is read from GGUF files.
        embeddings: of each text encoder, the key of its vectors in the file of a textual inversion;
            "" where there is one encoder; () = prompts cannot name any.
        converter: the function of diffusers that renames a transformer's published tensors; None
            = a file has diffusers' names, or holds a U-Net.
    """

    id: str
    label: str
    pipelines: tuple[str, ...]
    implementation: str
    text_encoders: tuple[TextEncoder, ...]
    kind: Kind
    latent_channels: int
    sizes: Callable[[Configs], Sizes]
    denoiser: str = "transformer"
    index_options: tuple[str, ...] = ()
    guidance: GuidanceKind = "classifier_free"
    prompt_weights: bool = False
    clip_skip: bool = False
    suggested: Mapping[str, Any] = field(default_factory=dict)
    refine: Callable[[Capabilities, Configs], Capabilities] = _as_the_row_says
    trained_in: DtypeName = "float16"
    vae_fits_float16: bool = False
    lora_loader: str | None = None
    control_adapter: str | None = None
    gguf: bool = False
    embeddings: tuple[str, ...] = ()
    converter: str | None = None

    @property
    def components(self) -> tuple[str, ...]:
        """Components to load, in loading order; others in a model's index are left alone."""
        texts = (name for one in self.text_encoders for name in (one.tokenizer, one.encoder))
        return (*texts, self.denoiser, "vae")

    @property
    def optional(self) -> frozenset[str]:
        """Those of `components` that a model may leave out (null in its index)."""
        left_out = (one for one in self.text_encoders if one.optional)
        return frozenset(name for one in left_out for name in (one.tokenizer, one.encoder))

    def _layers_to_skip(self, configs: Configs) -> int:
        """Layers of the CLIP encoder with the fewest that may be left out; one must stay."""
        if not self.clip_skip:
            return 0
        names = (one.encoder for one in self.text_encoders)
        layers = (configs.get(name, {}).get("num_hidden_layers") for name in names)
        return max(0, min((count for count in layers if count), default=1) - 1)

    def capabilities(self, configs: Configs) -> Capabilities:
        """Say what a model can do, from its configs alone.

        Raises: ModelUnavailable: naming the family, if its row cannot read them.
        """
        try:
            of_the_row = Capabilities(
                self.kind,
                compatible_samplers(self.kind, configs["scheduler"]),
                self.sizes(configs),
                guidance=self.guidance,
                prompt_weights=self.prompt_weights,
                clip_skip=self._layers_to_skip(configs),
                suggested=self.suggested,
            )
            return self.refine(of_the_row, configs)
        except ModelUnavailable:
            raise
        except KeyError as error:
            raise ModelUnavailable(f"a config lacks {error} (family {self.id!r})") from error
        except Exception as error:
            raise ModelUnavailable(
                f"family {self.id!r} cannot say what the model can do, from its configs "
                f"({type(error).__name__}: {first_line(error)[:200]})"
            ) from error
