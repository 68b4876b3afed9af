"""Settings of a foreign picture as frozen data, and how they are written as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sampling:
    """One sampler run: values as the tool wrote them.

    Attributes:
        scale: of classifier-free guidance.
        distilled: guidance that a distilled model takes as an input.
    """

    name: str | None = None
    steps: str | None = None
    scale: str | None = None
    seed: str | None = None
    schedule: str | None = None
    distilled: str | None = None
    rescale: str | None = None
    denoise: str | None = None

    def told(self) -> dict[str, str]:
        """What is known, by the names of the command line's JSON."""
        named = {
            "name": self.name,
            "steps": self.steps,
            "cfg_scale": self.scale,
            "seed": self.seed,
            "scheduler": self.schedule,
            "distilled_cfg_scale": self.distilled,
            "cfg_rescale": self.rescale,
            "denoising_strength": self.denoise,
        }
        return {key: value for key, value in named.items() if value}


@dataclass(frozen=True)
class Settings:
    """What a picture says of how it was made.

    Attributes:
        samplings: in the order in which they ran; the first made the picture.
        size: width and height.
        hires: the second pass at a larger size, by the tool's own names.
        loras: each with `name` and, where known, `scale`.
        controlnets: each by the tool's own names.
    """

    generator: str
    prompts: tuple[str, ...] = ()
    negative_prompts: tuple[str, ...] = ()
    samplings: tuple[Sampling, ...] = ()
    models: tuple[str, ...] = ()
    size: tuple[str, str] | None = None
    clip_skip: str | None = None
    vae: str | None = None
    hires: Mapping[str, str] = field(default_factory=dict)
    loras: tuple[Mapping[str, str], ...] = ()
    controlnets: tuple[Mapping[str, str], ...] = ()

    @property
    def says_something(self) -> bool:
        """Whether these are settings at all, not some text that only looks like it."""
        ran = any(one.steps or one.seed or one.scale for one in self.samplings)
        return bool(ran or (self.prompts and (self.models or self.size)))

    def to_json(self) -> dict[str, Any]:
        """Write what is known, ready for JSON."""
        more: dict[str, Any] = {
            "size": "x".join(self.size) if self.size else None,
            "clip_skip": self.clip_skip,
            "vae": self.vae,
            "hires": dict(self.hires),
            "loras": [dict(one) for one in self.loras],
            "controlnets": [dict(one) for one in self.controlnets],
        }
        return {
            "generator": self.generator,
            "prompts": list(self.prompts),
            "negative_prompts": list(self.negative_prompts),
            "samplers": [told for one in self.samplings if (told := one.told())],
            "models": list(self.models),
            **{key: value for key, value in more.items() if value},
        }


def said(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Texts that say something, each once, in order."""
    return tuple(dict.fromkeys(one.strip() for one in texts if one and one.strip()))
