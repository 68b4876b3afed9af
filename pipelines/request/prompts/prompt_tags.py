"""Prompt tags: takes `<lora:NAME:1>` out of prompts and into a Request's LoRAs.

| text | means |
| --- | --- |
| `<lora:pixel>`, `<lora:pixel:0.8>` | LoRA `pixel` at scale 1, at 0.8 |
| `<lora:styles/pixel:0.8>` | the same, by the folder it lies in |
| `<lora:pixel:0.5:0.8>` | 0.5 in the text encoders, 0.8 in the denoiser |
| `<lora:pixel:te=0.5:unet=0.8>` | the same, by name |
| `<lyco:pixel:0.8>` | as `lora` |

Only the prompt is searched: in a negative prompt a tag is text, as it is in other tools.
Source: AUTOMATIC1111/stable-diffusion-webui, modules/extra_networks.py (`parse_prompt`) and
    extensions-builtin/Lora/extra_networks_lora.py (`activate`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.errors import InvalidRequest
from pipelines.request.lora import LoRA
from pipelines.request.request import Request

_TAG = re.compile(r"<(\w+):([^<>]+)>")
_LORA_KINDS = ("lora", "lyco")
_OTHER_KINDS = ("hypernet",)


def carry_out(request: Request) -> Request:
    """Move the LoRA tags of a prompt to the Request's LoRAs, behind those that are there.

    Raises: InvalidRequest: for a tag that cannot be read, quoting it.
    """
    if "<" not in request.prompt:
        return request
    prompt, found = split_tags(request.prompt)
    return request.replace(prompt=prompt, loras=(*request.loras, *found)) if found else request


def split_tags(prompt: str) -> tuple[str, tuple[LoRA, ...]]:
    """Split a prompt into its text without LoRA tags, and their LoRAs.

    Raises: InvalidRequest: for a tag that cannot be read, quoting it.
    """
    found = tuple(map(_read, _lora_tags(prompt)))
    if not found:
        return prompt, ()
    text = ""
    done = 0
    for match in _lora_tags(prompt):
        # With the spaces before it: what stays is the prompt that somebody would have typed.
        text += prompt[done : match.start()].rstrip()
        done = match.end()
    return (text + prompt[done:]).strip(), found


def unread_tags(prompt: str, negative: bool = False) -> tuple[str, ...]:
    """List tags that are not carried out: hypernetworks, and any in a negative prompt."""
    kinds = (*_OTHER_KINDS, *(_LORA_KINDS if negative else ()))
    return tuple(match[0] for match in _TAG.finditer(prompt) if match[1].lower() in kinds)


def _lora_tags(prompt: str) -> Iterator[re.Match[str]]:
    return (match for match in _TAG.finditer(prompt) if match[1].lower() in _LORA_KINDS)


def _read(match: re.Match[str]) -> LoRA:
    name, *settings = match[2].split(":")
    named = dict(one.split("=", 1) for one in settings if "=" in one)
    numbers = [one.strip() for one in settings if "=" not in one]
    if len(numbers) > 2 or not {key.strip() for key in named} <= {"te", "unet"}:
        raise InvalidRequest(
            f"{match[0]} is no LoRA tag; write <lora:NAME:SCALE>, or <lora:NAME:TE:UNET> for one "
            "scale in the text encoders and another in the denoiser"
        )
    text_scale = named.get("te", numbers[0] if numbers else "1")
    scale = named.get("unet", numbers[1] if len(numbers) > 1 else text_scale)
    try:
        return LoRA.model_validate(
            {"name": name.strip(), "scale": scale.strip(), "text_scale": text_scale.strip()}
        )
    except InvalidRequest as error:
        raise InvalidRequest(f"{match[0]}: {error}") from None
