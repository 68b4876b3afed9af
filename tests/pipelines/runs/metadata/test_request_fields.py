"""Which foreign settings a Request can hold, and what is said of the rest."""

from __future__ import annotations

from pipelines.request.request import Request
from pipelines.runs.metadata.parts.settings import Settings
from pipelines.runs.metadata.request_fields import held
from pipelines.runs.metadata.tools.automatic1111 import read_text

TEXT = """a castle <lora:ink:0.8>
Negative prompt: blurry
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 42, Size: 512x768, Model: thing"""


def read(text: str) -> Settings:
    found = read_text(text)
    assert found is not None
    return found


def test_what_is_held_makes_a_request() -> None:
    fields, reasons = held(read(TEXT))
    assert reasons == {}
    assert Request(**fields) == Request(
        prompt="a castle", negative_prompt="blurry", steps=20, sampler="dpmpp_2m",
        schedule="karras", guidance_scale=7, seed=42, width=512, height=768, model="thing",
        loras=["ink:0.8"],
    )  # fmt: skip


def test_the_rest_is_named_with_its_reason() -> None:
    more = ", VAE: ae, Clip skip: 2, Denoising strength: 0.4, Hires upscale: 2, "
    text = TEXT.replace("Seed: 42", f"Seed: {10**30}").replace("DPM++ 2M Karras", "Odd 3")
    fields, reasons = held(read(f'{text}{more}ControlNet 0: "Module: canny, Model: net"'))
    assert set(reasons) == {
        "sampler", "seed", "vae", "denoising_strength", "hires", "controlnets",
    }  # fmt: skip
    assert "unknown sampler 'Odd 3'" in reasons["sampler"] or "odd 3" in reasons["sampler"]
    assert all(0 < len(reason) <= 200 for reason in reasons.values())
    assert fields["clip_skip"] == 1, "other tools count from 1"
    assert fields["steps"] == 20 and "seed" not in fields and "sampler" not in fields


def test_an_automatic_schedule_is_the_samplers_own() -> None:
    text = TEXT.replace("DPM++ 2M Karras", "Euler, Schedule type: Automatic")
    fields, reasons = held(read(text))
    assert (fields["sampler"], fields["schedule"], reasons) == ("euler", "default", {})


def test_numbers_that_are_none() -> None:
    fields, reasons = held(read(TEXT.replace("Steps: 20", "Steps: 9999").replace("7,", "seven,")))
    assert {"steps", "guidance_scale"} <= reasons.keys() and "steps" not in fields
