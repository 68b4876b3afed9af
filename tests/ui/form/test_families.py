"""What the page offers follows the model that is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.tiny_families import MAKERS, sd3_controlnet
from tests.robustness.test_imports import fresh
from tests.ui.control_pages import generate as make
from tests.ui.control_pages import last_request, ready, save_square, upload
from tests.ui.page_server import PATIENCE_MS, Site, served
from tests.ui.pages import choose, fill, fix_seed, generate, picture, wait_status
from tests.ui.sheet_pages import open_tab
from tests.ui.tabs.test_text_to_image import same


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    for name in ("flux-dev", "lcm", "sd3"):
        MAKERS[name]().save_pretrained(folder / name, safe_serialization=True)
    sd3_controlnet().save_pretrained(folder / "sd3-canny")
    return folder


@pytest.fixture(scope="module")
def zoo_site(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(zoo, tmp_path_factory.mktemp("outputs")) as site:
        yield site


@pytest.fixture
def zoo_page(browser: Browser, zoo_site: Site) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(zoo_site.url)
    page.get_by_label("Prompt", exact=True).wait_for()
    yield page
    context.close()


def offered(page: Page, label: str) -> list[str]:
    """What a menu lists."""
    box, options = page.get_by_label(label, exact=True), page.get_by_role("option")
    expect(options).to_have_count(0)  # a menu that closes fades out
    box.click()
    expect(options).not_to_have_count(0)
    names = options.all_text_contents()
    box.press("Escape")
    return [name.strip().removeprefix("✓").strip() for name in names]


def test_the_first_page_offers_what_fits_and_needs_no_torch(zoo: Path) -> None:
    told = fresh(
        """
from pipelines import Studio
from ui.page import build
studio = Studio(sys.argv[1])
blocks = build(studio).blocks.values()
labelled = {block.label: block for block in blocks if getattr(block, "label", None)}
tell(
    offered={
        name: [value for _, value in labelled[name].choices] for name in ("Sampler", "Samplers")
    },
    distilled=labelled["Distilled guidance"].visible,
    every={info.id: list(studio.supports(info.id).samplers) for info in studio.models()},
    heavy=[name for name in ("torch", "diffusers", "transformers") if name in sys.modules],
)
""",
        zoo,
    )
    assert told["offered"] == {"Sampler": ["flow_euler"], "Samplers": ["flow_euler"]}
    assert told["distilled"] and told["heavy"] == []
    assert told["every"] == {
        "flux-dev": ["flow_euler"], "lcm": ["lcm"], "sd3": ["flow_euler", "flow_heun"],
    }  # fmt: skip


def test_choosing_a_model_shows_what_it_has(zoo_page: Page, zoo_site: Site) -> None:
    page = zoo_page
    negative = page.get_by_label("Negative prompt", exact=True)
    distilled = page.get_by_label("Distilled guidance", exact=True)
    expect(negative).to_be_visible()
    expect(distilled).to_be_visible()
    assert offered(page, "Sampler") == ["Flow Euler"]
    negative.fill("a pear")

    choose(page, "Model", "lcm")
    expect(negative).to_be_hidden()
    expect(distilled).to_be_hidden()
    assert offered(page, "Sampler") == ["LCM"]
    expect(page.get_by_label("Sampler", exact=True)).to_have_value("LCM")

    # What was typed before is not sent along: this model would refuse it.
    fill(page, Prompt="an apple", Steps=2)
    choose(page, "Size", "Custom")
    fill(page, Width=32, Height=32)
    fix_seed(page, 7)
    generate(page)
    wait_status(page, "done")
    run = zoo_site.newest_run()
    assert (run.requests[0].negative_prompt, run.requests[0].sampler) == ("", "lcm")
    assert same(picture(page), zoo_site.studio.image(run.requests[0]))

    choose(page, "Model", "sd3")
    expect(negative).to_be_visible()
    expect(distilled).to_be_hidden()
    assert offered(page, "Sampler") == ["Flow Euler", "Flow Heun"]


def test_flow_samplers_are_compared(zoo_page: Page) -> None:
    tab = open_tab(zoo_page, "Samplers")
    tab.get_by_label("Model", exact=True).click()
    zoo_page.get_by_role("option", name="sd3", exact=True).click()
    expect(tab.get_by_text("Flow Heun")).to_be_visible()
    tab.get_by_label("Size", exact=True).click()
    zoo_page.get_by_role("option", name="Custom", exact=True).click()
    tab.get_by_label("Width", exact=True).fill("32")
    tab.get_by_label("Height", exact=True).fill("32")
    tab.get_by_label("How many").fill("2, 3")
    tab.get_by_role("button", name="Generate", exact=True).click()
    tab.locator('.cs-run[data-status="done"]').wait_for()
    assert tab.locator(".cs-cell img").count() == 4
    expect(tab.locator(".cs-numbers tbody tr")).to_have_count(2)


def test_a_sampler_that_does_not_fit_is_refused_with_those_that_do(zoo_page: Page) -> None:
    """The menus offer none; in a sheet's axes one may be typed."""
    tab = open_tab(zoo_page, "Sheet")
    for model, sampler, takes in (
        ("sd3", "euler", "a flow model; it takes flow_euler, flow_heun"),
        ("flux-dev", "flow_heun", "a flow model; it takes flow_euler"),
        ("lcm", "flow_euler", "a latent consistency model; it takes lcm"),
    ):
        tab.get_by_label("Model", exact=True).click()
        zoo_page.get_by_role("option", name=model, exact=True).click()
        tab.get_by_label("Axes").fill(f"sampler={sampler}")
        tab.get_by_role("button", name="Generate", exact=True).click()
        said = f"sampler '{sampler}' does not fit '{model}', {takes}"
        expect(zoo_page.get_by_test_id("toast-body").last).to_contain_text(said)


def test_layers_are_skipped_where_the_model_has_them(zoo_page: Page, zoo_site: Site) -> None:
    page = zoo_page
    layers = page.get_by_label("Skip layers")
    page.get_by_role("button", name="More about guidance").first.click()
    expect(page.get_by_label("Rescale", exact=True)).to_be_visible()
    expect(layers).to_be_hidden()
    choose(page, "Model", "sd3")
    expect(layers).to_be_visible()
    fill(page, Prompt="an apple", Steps=4, Skip_until=0.9)
    layers.fill("1, 0")
    choose(page, "Size", "Custom")
    fill(page, Width=32, Height=32)
    fix_seed(page, 7)
    generate(page)
    wait_status(page, "done")
    (request,) = zoo_site.newest_run().requests
    assert (request.skip_layers, request.skip_layer_stop) == ((0, 1), 0.9)
    plain = zoo_site.studio.image(request.replace(skip_layers=()))
    assert same(picture(page), zoo_site.studio.image(request)) and not same(picture(page), plain)


def test_controls_follow_the_model(zoo_page: Page, zoo_site: Site, tmp_path: Path) -> None:
    page = zoo_page
    tab = open_tab(page, "ControlNet")
    model = tab.get_by_role("combobox", name="Model", exact=True)
    missing = tab.locator("#controlnet-missing")
    expect(missing).to_contain_text("No ControlNet for flux-dev is here")
    upload(tab, save_square(tmp_path))
    ready(tab, "edge")
    tab.get_by_role("button", name="How it acts").first.click()
    who = tab.get_by_text("Who decides 1")
    expect(who).to_have_count(0)  # FLUX knows one mode, so there is nothing to choose
    model.click()
    page.get_by_role("option", name="lcm", exact=True).click()
    expect(missing).to_contain_text("No ControlNet for lcm is here")
    expect(who).to_be_visible()
    tab.get_by_text("Control first").first.click()
    model.click()
    page.get_by_role("option", name="sd3", exact=True).click()
    expect(missing).to_be_hidden()
    expect(who).to_have_count(0)
    expect(tab.locator("#controlnet-follows-1")).to_contain_text("sd3-canny follows this map.")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    make(tab)
    control = last_request(zoo_site).controls[0]
    assert (control.model, control.mode) == ("sd3-canny", "balanced")
