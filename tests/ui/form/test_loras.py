"""LoRAs chosen on the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from gradio_client import Client
from PIL import Image
from playwright.sync_api import Browser, expect

from pipelines import Request
from tests.helpers.lora_makers import save_with_loras
from tests.ui.page_server import PATIENCE_MS, Site, served
from tests.ui.pages import choose, fill, fix_seed, generate, picture, wait_status
from tests.ui.tabs.test_text_to_image import same


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    models = save_with_loras(tmp_path_factory.mktemp("models"))
    with served(models, tmp_path_factory.mktemp("outputs")) as site:
        yield site


def test_a_lora_is_chosen_and_another_typed_with_its_scale(browser: Browser, site: Site) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(site.url)
    page.get_by_label("Prompt", exact=True).wait_for()
    page.get_by_role("button", name="LoRAs").click()
    box = page.get_by_label("LoRAs", exact=True)
    choose(page, "LoRAs", "tiny-one")
    box.fill("tiny-two:-0.5")
    box.press("Enter")
    box.press("Escape")
    fill(page, Prompt="a red apple", Steps=3)
    fix_seed(page, 5)
    choose(page, "Sampler", "Euler")
    generate(page)
    wait_status(page, "done")
    (cell,) = site.newest_run().snapshot().cells
    request = cell.request
    assert [lora.text for lora in request.loras] == ["tiny-one", "tiny-two:-0.5"]
    shown = picture(page)
    assert same(shown, site.studio.image(request))
    plain: Request = request.replace(loras=())
    assert not same(shown, site.studio.image(plain), tolerance=8)
    # Another model's menu has the LoRAs that fit it.
    choose(page, "Model", "xl")
    options = page.get_by_role("option")
    expect(options).to_have_count(0)  # a menu that closes fades out
    box.click()
    expect(options).to_have_text([re.compile("xl-one"), re.compile("xl-two")])
    context.close()


def test_a_program_names_loras(site: Site) -> None:
    files, settings = Client(site.url, verbose=False).predict(
        prompt="a red apple", sampler="euler", steps=3, seed=5, model="tiny",
        loras=["tiny-one", "tiny-two:-0.5"], api_name="/generate",
    )  # fmt: skip
    made = Request(**json.loads(settings)[0])
    assert [lora.text for lora in made.loras] == ["tiny-one", "tiny-two:-0.5"]
    with Image.open(files[0]) as image:
        shown = image.convert("RGB")
    assert same(shown, site.studio.image(made))
    assert not same(shown, site.studio.image(made.replace(loras=())), tolerance=8)
