"""Arguments of wrong types: an error that names the field, and repeats little of what came."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from pipelines import InvalidRequest
from tests.ui.page_server import Site
from ui.api.parameters import SHARED
from ui.errors import BUG, with_short_quotes

WRONG: tuple[Any, ...] = (None, 5, float("inf"), "\0", "x" * 3000, [None], {"a": 1}, 10**400)
BASE: dict[str, dict[str, Any]] = {
    "generate": {"model": "basic", "steps": 1},
    "guidance_sweep": {"model": "basic", "steps": 1, "guidance_scales": "1"},
    "compare_samplers": {"model": "basic", "steps": "1", "samplers": "ddim"},
    "preprocess": {},
    "controlnet": {"model": "basic", "steps": 1},
}


@pytest.fixture
def upload(site: Site) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    files = {"files": ("a.png", buffer.getvalue())}
    path = httpx.post(f"{site.url}/gradio_api/upload", files=files).json()[0]
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def call(site: Site, name: str, fields: dict[str, Any]) -> str:
    address = f"{site.url}/gradio_api/call"
    joined = httpx.post(f"{address}/v2/{name}", content=json.dumps(fields), timeout=30)
    if "event_id" not in joined.text:
        return joined.text
    return httpx.get(f"{address}/{name}/{joined.json()['event_id']}", timeout=60).text


@pytest.mark.parametrize("name", BASE)
def test_no_argument_ends_in_a_bug(site: Site, name: str, upload: dict[str, Any]) -> None:
    told = httpx.get(f"{site.url}/gradio_api/info").json()["named_endpoints"][f"/{name}"]
    shared = {one.name for one in SHARED} if name != "generate" else set()
    names = [one["parameter_name"] for one in told["parameters"]]
    for parameter in [one for one in names if one not in shared]:
        for wrong in WRONG:
            fields = BASE[name] | ({"image": upload} if "image" in str(told) else {})
            answer = call(site, name, fields | {parameter: wrong})
            assert BUG not in answer, (parameter, str(wrong)[:40])
            # "complete" repeats the settings of a picture, which is what was asked for.
            assert "event: complete" in answer or len(answer) < 900, (parameter, answer[:300])


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("generate", {"model": 5}, "model is 5; it must be a text"),
        ("generate", {"loras": "x"}, "loras is 'x'; it must be a list of texts"),
        ("generate", {"loras": [1]}, "loras is [1]; it must be a list of texts"),
        ("generate", {"prompt": None}, "prompt is None; it must be a text"),
        ("controlnet", {"more_controls": 5}, "more_controls is 5; it must be a list of objects"),
        ("preprocess", {"parameters": "x"}, "parameters is 'x'; it must be an object"),
        ("preprocess", {"preprocessor": []}, "preprocessor is []; it must be a text"),
    ],
)
def test_the_field_is_named(
    site: Site, name: str, fields: dict[str, Any], message: str, upload: dict[str, Any]
) -> None:
    image = {} if name == "generate" else {"image": upload}
    assert message in call(site, name, BASE[name] | image | fields)


def test_quotes_are_cut_and_the_rest_stays() -> None:
    cut = with_short_quotes(f"sampler is {'x' * 10**6!r}; use 'ddim'")
    assert cut == f"sampler is '{'x' * 190}…'; use 'ddim'"
    assert with_short_quotes("steps is 'x'") == "steps is 'x'"
    assert len(with_short_quotes(str(InvalidRequest("y" * 10**6)))) <= 2001


def test_a_body_of_another_shape_is_not_given_back(site: Site) -> None:
    for body in ({"data": "x" * 10**5}, ["x" * 10**5], {"fn_index": "x" * 10**5}, "x" * 10**5):
        for route in ("run/predict", "queue/join", "call/generate", "call/v2/generate"):
            told = httpx.post(f"{site.url}/gradio_api/{route}", json=body)
            assert told.status_code >= 400 and len(told.text) < 2000, (route, told.text[:200])
