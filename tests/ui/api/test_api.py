"""The endpoints, called by gradio_client as a program would."""

from __future__ import annotations

import json

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from pipelines import Request
from pipelines.runs.png_metadata import read_request
from presets import model_preset
from tests.ui import pages
from tests.ui.page_server import Site


@pytest.fixture(scope="module")
def client(site: Site) -> Client:
    return Client(site.url, verbose=False)


def test_generate_returns_files_and_settings(client: Client, site: Site) -> None:
    files, settings = client.predict(
        prompt="a red apple", model="basic", steps=3, seed=5, count=2, api_name="/generate"
    )
    requests = [Request(**fields) for fields in json.loads(settings)]
    assert [request.seed for request in requests] == [5, 6]
    for file, request in zip(files, requests, strict=True):
        with Image.open(file) as image:
            assert read_request(image) == request
            assert image.convert("RGB") == site.studio.image(request)


def test_bad_values_come_back_as_their_message(client: Client) -> None:
    with pytest.raises(AppError, match=r"steps is 0; it must be a whole number from 1 to 1000"):
        client.predict(model="basic", steps=0, api_name="/generate")
    with pytest.raises(AppError, match=r"unknown sampler 'eulr'; did you mean 'euler'"):
        client.predict(model="basic", sampler="eulr", api_name="/generate")


def test_nothing_else_is_public(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {
        "/generate", "/guidance_sweep", "/compare_samplers", "/preprocess", "/controlnet"
    }  # fmt: skip


def test_a_sweep_and_a_comparison(client: Client, site: Site) -> None:
    files, settings = client.predict(
        prompt="a red apple", guidance_scales="1-5 (+4)", model="basic", steps=3,
        guidance_stop=0.7, api_name="/guidance_sweep",
    )  # fmt: skip
    assert [fields["guidance_scale"] for fields in json.loads(settings)] == [1, 5]
    assert {fields["guidance_stop"] for fields in json.loads(settings)} == {0.7}
    for file, fields in zip(files, json.loads(settings), strict=True):
        with Image.open(file) as image:
            assert image.convert("RGB") == site.studio.image(Request(**fields))
    files, settings = client.predict(
        prompt="a red apple", samplers="ddim, Euler Karras", steps="2, 3", model="basic",
        api_name="/compare_samplers",
    )  # fmt: skip
    asked = [(f["sampler"], f["schedule"], f["steps"]) for f in json.loads(settings)]
    assert asked == [
        ("ddim", "default", 2), ("ddim", "default", 3),
        ("euler", "karras", 2), ("euler", "karras", 3),
    ]  # fmt: skip
    assert len(files) == 4


def test_what_is_left_out_suits_the_model(client: Client) -> None:
    _, settings = client.predict(prompt="x", model="emoji", api_name="/generate")
    preset = model_preset("emoji").defaults()
    made = Request(**json.loads(settings)[0])
    assert preset == {name: getattr(made, name) for name in preset}


def test_every_endpoint_is_told_all_that_a_picture_is_made_of(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    varied = {
        "/generate": set(),
        "/guidance_sweep": {"guidance_scale"},
        "/compare_samplers": {"sampler", "schedule"},
        "/controlnet": set(),
    }
    for name, own in varied.items():
        told = {one["parameter_name"] for one in endpoints[name]["parameters"]}
        assert set(Request.model_fields) - told == {"controls", *own}, name
    with pytest.raises(AppError, match="unknown LoRA 'none'"):
        client.predict(model="basic", loras=["none"], api_name="/compare_samplers")


def test_a_cancelled_call_stops_its_run(client: Client, site: Site) -> None:
    job = client.submit(model="basic", steps=1000, prompt="long", api_name="/generate")
    pages.until(lambda: site.newest_run().requests[0].prompt == "long", "the run")
    run = site.newest_run()
    pages.until(lambda: run.snapshot().evaluations > 0, "the first step")
    job.cancel()
    pages.until(lambda: run.snapshot().finished, "the end of the run")
    assert run.snapshot().status == "stopped"
