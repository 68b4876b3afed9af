"""The ControlNet tab, used as a person uses it: upload, map, edit, generate, compare."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from pipelines import Request, Studio, preprocessors
from pipelines.runs.png_metadata import read_request
from presets import example_pictures
from tests.helpers.tiny import save_sd
from tests.ui.control_pages import (
    SIZE,
    drag,
    edited,
    editor,
    generate,
    generate_refused,
    last_request,
    map_shown,
    ready,
    upload,
)
from tests.ui.page_server import PATIENCE_MS, Site, start
from tests.ui.pages import until
from tests.ui.sheet_pages import cells, headers, open_tab
from tests.ui.tabs.test_text_to_image import same


def test_upload_map_stroke_generate(page: Page, site: Site, tab: Locator, picture: Path) -> None:
    upload(tab, picture)
    ready(tab, "edge")
    wanted = preprocessors.run("canny", Image.open(picture), {}, SIZE)
    assert (map_shown(tab) == np.asarray(wanted)).all(), "the map is what the engine would see"
    generate(tab)
    (plain,) = cells(page, tab)
    first = last_request(site)
    assert [(one.preprocessor, one.model) for one in first.controls] == [("canny", "net-canny")]

    edited(page, lambda: drag(page, tab, (0.1, 0.5), (0.9, 0.5)))
    generate(tab)
    (steered,) = cells(page, tab)
    request = last_request(site)
    control = request.controls[0]
    assert (control.preprocessor, control.model) == ("none", "net-canny")
    drawn = np.asarray(site.studio.picture(control.image))
    assert (drawn == map_shown(tab)).all(), "what is on the page is what steers"
    assert (drawn[16, 4:28] == 255).all() and not np.asarray(wanted)[16, 12:20].any()
    assert same(steered, site.studio.image(request)) and not same(steered, plain)
    read = read_request(Image.open(site.newest_run().snapshot().cells[0].file))
    assert read == request

    runs = preprocessors.cache_stats().runs
    # Neither another prompt nor another strength makes the map again.
    tab.get_by_label("Prompt", exact=True).fill("a blue car")
    tab.get_by_label("Strength 1").fill("0.4")
    generate(tab)
    assert last_request(site).controls[0].strength == 0.4
    assert preprocessors.cache_stats().runs == runs

    editor(tab).get_by_role("button", name="Undo", exact=True).click()
    page.wait_for_timeout(300)
    assert (map_shown(tab) == np.asarray(wanted)).all()


def test_a_dragged_joint_shows_in_the_result(page: Page, site: Site, tab: Locator) -> None:
    tab.get_by_label("Prompt", exact=True).fill("")
    tab.locator(".cs-thumbs").first.locator("button").first.click()
    ready(tab, "pose")
    example = example_pictures()[0]
    expect(tab.get_by_label("Prompt", exact=True)).to_have_value(example.prompt)
    person = json.loads(example.skeletons_text() or "")[0]
    generate(tab)
    (before,) = cells(page, tab)
    wrist = person["joints"][7]
    edited(page, lambda: drag(page, tab, tuple(wrist), (0.9, 0.8)))
    generate(tab)
    (after,) = cells(page, tab)
    request = last_request(site)
    assert request.controls[0].model == "net-pose"
    person["joints"][7] = [0.9, 0.8]
    drawn = np.asarray(site.studio.picture(request.controls[0].image)).astype(int)
    assert drawn[int(0.8 * 32), int(0.9 * 32)].tolist() == [0, 255, 85], "the wrist's own colour"
    assert same(after, site.studio.image(request)) and not same(before, after)


def test_two_controls_and_several_strengths(
    page: Page, site: Site, tab: Locator, picture: Path
) -> None:
    upload(tab, picture)
    ready(tab, "edge")
    tab.get_by_role("button", name="Control 2").click()
    tab.get_by_label("Use control 2").check()
    generate_refused(tab, "control 2 has no picture")
    upload(tab, picture, 2)
    ready(tab, "edge", 2)
    tab.get_by_label("Map 2", exact=True).click()
    page.get_by_role("option", name="Colour grid").click()
    ready(tab, "segment", 2)
    generate_refused(tab, "which ControlNet follows map 2 is not clear; choose one under")
    tab.get_by_role("button", name="How it acts").nth(1).click()
    tab.get_by_label("ControlNet 2", exact=True).click()
    page.get_by_role("option", name="net-pose", exact=True).click()
    tab.get_by_label("Strength 1").fill("0.5, 1")
    tab.get_by_label("Strength 2").fill("0, 0.75, 2")
    tab.get_by_label("Until 2").fill("0.5")
    generate(tab)
    pictures = cells(page, tab)
    assert headers(tab, "row") == ["strength 0.5", "strength 1"]
    requests = site.newest_run().requests
    strengths = [tuple(one.strength for one in request.controls) for request in requests]
    assert strengths == [(a, b) for a in (0.5, 1) for b in (0, 0.75, 2)]
    assert [one.stop for one in requests[0].controls] == [1, 0.5]
    for shown, request in zip(pictures, requests, strict=True):
        assert same(shown, site.studio.image(request))
    # The second control alone, as the first of its request.
    tab.get_by_label("Use control 1").uncheck()
    generate(tab)
    cells(page, tab)
    assert [len(one.controls) for one in site.newest_run().requests] == [1, 1, 1]
    expect(editor(tab)).to_be_hidden()


def test_bad_pictures_and_parameters_say_why(
    page: Page, site: Site, tab: Locator, picture: Path, tmp_path: Path
) -> None:
    generate_refused(tab, "control 1 has no picture; upload one")
    (tmp_path / "phone.png").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    upload(tab, tmp_path / "phone.png")
    problem = tab.locator("#controlnet-map-1 .cs-problem")
    expect(problem).to_contain_text("is a HEIC picture, as phones take them")
    bomb = Image.new("1", (9000, 9000))
    bomb.save(tmp_path / "bomb.png")
    upload(tab, tmp_path / "bomb.png")
    expect(problem).to_contain_text("9000 × 9000 pixels; at most")
    upload(tab, picture)
    ready(tab, "edge")
    tab.locator("#controlnet-picture-1").get_by_label("Remove Image").click()
    expect(editor(tab)).to_contain_text("Map 1: upload a picture")
    upload(tab, picture)
    ready(tab, "edge")
    expect(problem).to_be_hidden()
    tab.get_by_label("Low threshold").fill("900")
    expect(problem).to_contain_text("low must not be above high")
    tab.get_by_label("High threshold").fill("950")
    expect(problem).to_be_hidden()
    corners = preprocessors.run("canny", Image.open(picture), {"low": 900, "high": 950}, SIZE)
    until(lambda: bool((map_shown(tab) == np.asarray(corners)).all()), "the map of these values")
    tab.get_by_label("Strength 1").fill("3")
    generate_refused(tab, "strength is 3.0; it must be a number from 0 to 2")
    tab.get_by_label("Use control 1").uncheck()
    generate_refused(tab, "no control is on")


def test_edits_survive_a_reload_and_results_stand_beside_their_map(
    page: Page, site: Site, tab: Locator, picture: Path
) -> None:
    upload(tab, picture)
    ready(tab, "edge")
    edited(page, lambda: drag(page, tab, (0.1, 0.1), (0.9, 0.1)))
    mine = map_shown(tab)
    generate(tab)
    cells(page, tab)
    result = tab.locator("#controlnet-result")
    expect(result.locator("figcaption")).to_have_text(["Picture", "Map", "Result"])
    images = result.locator("figure img")
    sizes = "all => all.map(one => [one.naturalWidth, one.naturalHeight])"
    shown = [[96, 96], [32, 32], [32, 32]]
    until(lambda: images.evaluate_all(sizes) == shown, "all three pictures in their own sizes")
    address = images.nth(1).evaluate("image => image.src")
    served = Image.open(io.BytesIO(page.request.get(address).body()))
    assert (np.asarray(served.convert("RGB")) == mine).all()
    result.get_by_role("button", name="Overlay: Map and result").click()
    dialog = page.get_by_role("dialog", name="Two pictures compared")
    expect(dialog.locator(".cs-names p")).to_have_text(["Above: Map", "Below: Result"])
    dialog.get_by_role("slider").fill("30")
    opacity = dialog.get_by_alt_text("Map").evaluate("image => getComputedStyle(image).opacity")
    assert opacity == "0.3"
    dialog.get_by_role("button", name="Slider").click()
    style = dialog.get_by_alt_text("Map").evaluate(
        "image => [getComputedStyle(image).opacity, getComputedStyle(image).clipPath]"
    )
    assert style == ["1", "inset(0px 70% 0px 0px)"]

    page.reload()
    page.get_by_role("tab", name="ControlNet", exact=True).click()
    ready(tab, "edge")
    assert (map_shown(tab) == mine).all()
    editor(tab).get_by_role("button", name="Start over").click()
    wanted = preprocessors.run("canny", Image.open(picture), {}, SIZE)
    assert (map_shown(tab) == np.asarray(wanted)).all(), "the map as it was made is still known"


def test_what_was_steered_most_stands_beside_its_map_first(
    page: Page, tab: Locator, picture: Path
) -> None:
    upload(tab, picture)
    ready(tab, "edge")
    tab.get_by_label("Strength 1").fill("0, 1.5, 0.5")
    generate(tab)
    cells(page, tab)
    which = tab.locator("#controlnet-result").get_by_label("Which picture")
    expect(which.locator("option:checked")).to_have_text("strength 1.5")
    which.select_option("strength 0.5")
    expect(which.locator("option:checked")).to_have_text("strength 0.5")


def test_a_result_of_any_tab_can_steer(page: Page, site: Site) -> None:
    start_tab = page.locator("#text-to-image-tab")
    start_tab.get_by_label("Prompt", exact=True).fill("a red apple")
    start_tab.get_by_role("spinbutton", name="Steps").fill("2")
    generate(start_tab)
    (made,) = cells(page, start_tab)
    start_tab.get_by_role("button", name="To ControlNet").click()
    tab = page.locator("#controlnet-tab")
    ready(tab, "edge")
    expect(tab.get_by_label("Prompt", exact=True)).to_have_value("a red apple")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    generate(tab)
    cells(page, tab)
    control = last_request(site).controls[0]
    assert same(site.studio.picture(control.image), made)
    # And a picture's settings come back into the form, its control too.
    tab.get_by_label("Strength 1").fill("0.1")
    tab.get_by_role("button", name="Use settings").click()
    expect(tab.get_by_label("Strength 1")).to_have_value("1")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Site]:
    """A site without ControlNets."""
    save_sd(tmp_path / "models" / "basic")
    studio = Studio(tmp_path / "models", tmp_path / "outputs", device="cpu")
    site, stop = start(studio)
    yield site
    stop()
    studio.close()


def test_without_a_controlnet_maps_are_made_all_the_same(
    browser: Browser, bare: Site, picture: Path
) -> None:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(bare.url)
    tab = open_tab(page, "ControlNet")
    expect(tab.locator("#controlnet-missing")).to_contain_text("hf download")
    upload(tab, picture)
    ready(tab, "edge")
    drag(page, tab, (0.1, 0.5), (0.9, 0.5))
    until(lambda: bool((map_shown(tab)[16, 4:28] == 255).all()), "a stroke")
    generate_refused(tab, "no ControlNet here fits 'basic'; put one into the models folder")
    page.close()


# ---- for programs


@pytest.fixture(scope="module")
def client(site: Site) -> Client:
    return Client(site.url, verbose=False)


def test_preprocess_returns_the_map(client: Client, picture: Path) -> None:
    file, settings = client.predict(
        image=handle_file(picture), preprocessor="canny", parameters={"low": 50}, width=64,
        api_name="/preprocess",
    )  # fmt: skip
    told = json.loads(settings)
    assert (told["width"], told["height"], told["parameters"]["low"]) == (64, 96, 50)
    wanted = preprocessors.run("canny", Image.open(picture), {"low": 50}, (64, 96))
    assert (np.asarray(Image.open(file).convert("RGB")) == np.asarray(wanted)).all()


def test_controlnet_returns_steered_pictures(client: Client, site: Site, picture: Path) -> None:
    files, settings = client.predict(
        image=handle_file(picture), prompt="a red apple", model="basic", strengths="0.5, 1",
        steps=2, more_controls=[{"image": handle_file(picture), "model": "net-pose", "stop": 0.5}],
        api_name="/controlnet",
    )  # fmt: skip
    requests = [Request(**fields) for fields in json.loads(settings)]
    assert [request.controls[0].strength for request in requests] == [0.5, 1]
    assert requests[0].controls[1].stop == 0.5
    for file, request in zip(files, requests, strict=True):
        assert same(Image.open(file).convert("RGB"), site.studio.image(request))


def test_programs_reach_no_file_that_they_did_not_send(client: Client, picture: Path) -> None:
    for path in (str(picture), "/etc/hostname", "../../secret.png"):
        with pytest.raises(AppError, match=r"no file that was uploaded|Cannot move"):
            client.predict(image={"path": path}, api_name="/preprocess")
    with pytest.raises(AppError, match="send a file"):
        client.predict(image={}, api_name="/preprocess")
    with pytest.raises(AppError, match="unknown preprocessor 'cany'; did you mean 'canny'"):
        client.predict(image=handle_file(picture), preprocessor="cany", api_name="/preprocess")
