"""Edits on the ControlNet tab are never lost: not to haste, a reload, a switch, or time."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from pipelines import preprocessors
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
from tests.ui.page_server import Site
from tests.ui.pages import until
from tests.ui.sheet_pages import cells
from tests.ui.tabs.test_text_to_image import same


def test_a_stroke_on_its_way_is_part_of_the_run(
    page: Page, site: Site, tab: Locator, picture: Path
) -> None:
    upload(tab, picture)
    ready(tab, "edge")
    held: list[Route] = []

    def hold(route: Route) -> None:
        """Keep edits from the server until the run is over."""
        data = (route.request.post_data_json or {}) if route.request.method == "POST" else {}
        if isinstance(data.get("event_data"), dict) and "skeletons" in data["event_data"]:
            held.append(route)
        else:
            route.continue_()

    page.route("**/gradio_api/**", hold)
    drag(page, tab, (0.1, 0.5), (0.9, 0.5))
    generate(tab)
    assert held, "the edit itself has not arrived"
    (steered,) = cells(page, tab)
    request = last_request(site)
    drawn = np.asarray(site.studio.picture(request.controls[0].image))
    assert (drawn == map_shown(tab)).all() and (drawn[16, 4:28] == 255).all()
    assert same(steered, site.studio.image(request))
    for route in held:
        route.continue_()


def test_edits_survive_a_reload_before_any_run(
    page: Page, site: Site, tab: Locator, picture: Path
) -> None:
    tab.get_by_label("Prompt", exact=True).fill("a blue car")
    upload(tab, picture)
    ready(tab, "edge")
    tab.get_by_label("Strength 1").fill("0.7")
    edited(page, lambda: drag(page, tab, (0.1, 0.1), (0.9, 0.1)))
    edited(page, lambda: drag(page, tab, (0.1, 0.9), (0.9, 0.9)))
    mine = map_shown(tab)
    assert (mine[3, 4:28] == 255).all() and (mine[28, 4:28] == 255).all()
    # A number that is half typed is no reason to lose a map.
    for steps in ("3", ""):
        tab.get_by_role("spinbutton", name="Steps").fill(steps)
        page.wait_for_timeout(300)
        page.reload()
        page.get_by_role("tab", name="ControlNet", exact=True).click()
        ready(tab, "edge")
        assert (map_shown(tab) == mine).all()
        expect(tab.get_by_label("Strength 1")).to_have_value("0.7")
        if steps:
            expect(tab.get_by_role("spinbutton", name="Steps")).to_have_value(steps)
            expect(tab.get_by_label("Prompt", exact=True)).to_have_value("a blue car")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    generate(tab)
    drawn = np.asarray(site.studio.picture(last_request(site).controls[0].image))
    assert (drawn == mine).all()


def test_switching_a_control_off_and_on_keeps_its_edits(
    page: Page, tab: Locator, picture: Path
) -> None:
    upload(tab, picture)
    ready(tab, "edge")
    edited(page, lambda: drag(page, tab, (0.1, 0.5), (0.9, 0.5)))
    mine = map_shown(tab)
    tab.get_by_label("Use control 1").uncheck()
    expect(editor(tab)).to_be_hidden()
    tab.get_by_label("Use control 1").check()
    ready(tab, "edge")
    assert (map_shown(tab) == mine).all()
    editor(tab).get_by_role("button", name="Start over").click()
    wanted = preprocessors.run("canny", Image.open(picture), {}, SIZE)
    assert (map_shown(tab) == np.asarray(wanted)).all()


def test_a_run_s_pose_comes_back_with_its_joints(page: Page, site: Site, tab: Locator) -> None:
    tab.locator(".cs-thumbs").first.locator("button").first.click()
    ready(tab, "pose")
    wrist = editor(tab).get_by_role("button", name="Joint: left wrist")
    wrist.focus()
    edited(page, lambda: page.keyboard.press("Shift+ArrowLeft"))
    place = wrist.evaluate("node => node.style.left")
    generate(tab)
    # Undo by keys goes on when the joint that had the focus is hidden.
    wrist.press("Delete")
    expect(wrist).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(wrist).to_have_count(1)
    page.keyboard.press("Control+z")
    assert wrist.evaluate("node => node.style.left") != place
    page.keyboard.press("Control+y")
    page.keyboard.press("Control+Shift+z")
    expect(wrist).to_have_count(0)

    tab.get_by_role("button", name="Use settings").click()
    expect(wrist).to_have_count(1)
    assert wrist.evaluate("node => node.style.left") == place
    expect(tab.locator("#controlnet-result figcaption")).to_have_text(["Picture", "Map", "Result"])


def test_a_map_of_another_size_can_be_edited(
    page: Page, site: Site, tab: Locator, picture: Path
) -> None:
    upload(tab, picture)
    ready(tab, "edge")
    tab.get_by_role("combobox", name="Size", exact=True).click()
    page.get_by_role("option", name="Custom", exact=True).click()
    tab.get_by_label("Width", exact=True).fill("48")
    tab.get_by_label("Height", exact=True).fill("32")
    until(lambda: map_shown(tab).shape[:2] == (32, 48), "a map of this size")
    edited(page, lambda: drag(page, tab, (0.1, 0.5), (0.9, 0.5)))
    mine = map_shown(tab)
    generate(tab)
    assert (np.asarray(site.studio.picture(last_request(site).controls[0].image)) == mine).all()


def paste(page: Page, file: Path) -> None:
    """As Ctrl+V with a picture in the clipboard."""
    page.evaluate(
        """data => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
            const event = new ClipboardEvent("paste", { clipboardData, bubbles: true });
            document.body.dispatchEvent(event);
        }""",
        base64.b64encode(file.read_bytes()).decode(),
    )


def test_pictures_are_pasted_where_they_are_missing(
    page: Page, tab: Locator, picture: Path, tmp_path: Path
) -> None:
    paste(page, picture)
    ready(tab, "edge")
    wanted = preprocessors.run("canny", Image.open(picture), {}, SIZE)
    assert (map_shown(tab) == np.asarray(wanted)).all()
    tab.get_by_role("button", name="Control 2").click()
    tab.get_by_label("Use control 2").check()
    editor(tab, 2).wait_for()
    ready_one = map_shown(tab)
    turned = tmp_path / "turned.png"
    Image.open(picture).crop((0, 0, 60, 60)).save(turned)
    paste(page, turned)
    ready(tab, "edge", 2)
    other = preprocessors.run("canny", Image.open(turned), {}, SIZE)
    assert (map_shown(tab, 2) == np.asarray(other)).all()
    assert (map_shown(tab) == ready_one).all()
    wrong = tmp_path / "wrong.png"
    wrong.write_bytes(b"no picture at all")
    paste(page, wrong)
    expect(tab.locator("#controlnet-map-1 .cs-problem")).to_contain_text("that can be read")


def test_the_clipboard_and_the_camera(page: Page, tab: Locator) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async () => {
            const canvas = document.createElement("canvas");
            canvas.width = canvas.height = 64;
            const pen = canvas.getContext("2d");
            pen.fillStyle = "#fff"; pen.fillRect(0, 0, 64, 64);
            pen.fillStyle = "#333"; pen.fillRect(16, 16, 32, 32);
            const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
            await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
            // A camera that shows a dark half.
            navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(10);
            setInterval(() => {
              pen.fillStyle = "#fff"; pen.fillRect(0, 0, 64, 64);
              pen.fillStyle = "#333"; pen.fillRect(0, 0, 32, 64);
            }, 50);
        }"""
    )
    source = tab.locator("#controlnet-picture-1")
    source.get_by_label("Paste from clipboard").click()
    ready(tab, "edge")
    square = map_shown(tab)
    assert square[8, 12:20].any() and not square[12:20, 12:20].any()
    source.get_by_label("Capture from camera").click()
    source.get_by_text("Click to Access Webcam").click()
    source.get_by_label("capture photo").click()
    until(lambda: bool(map_shown(tab)[2:30, 14:18].any(1).all()), "an edge all down the middle")
    assert not map_shown(tab)[2:30, 20:].any()


def test_what_cannot_be_asked_says_why(
    page: Page, site: Site, tab: Locator, picture: Path, tmp_path: Path
) -> None:
    upload(tab, picture)
    ready(tab, "edge")
    note = tab.locator("#controlnet-follows-1")
    expect(note).to_contain_text("net-canny follows this map.")
    tab.get_by_role("button", name="How it acts").first.click()
    tab.get_by_label("From 1").fill("0.8")
    tab.get_by_label("Until 1").fill("0.2")
    generate_refused(tab, "control 1: control start 0.8 is after control stop 0.2")
    tab.get_by_label("From 1").fill("0")
    tab.get_by_label("Strength 1").fill("0.5, 2.5")
    generate_refused(tab, "control 1: control strength is 2.5; it must be a number from 0 to 2")
    tab.get_by_label("Strength 1").fill("1")
    # All that was there, erased.
    editor(tab).get_by_label("Size").fill("16")
    editor(tab).get_by_role("button", name="Erase").click()
    for share in (0.1, 0.4, 0.7, 0.95):
        edited(page, lambda y=share: drag(page, tab, (0, y), (1, y)))
    assert not map_shown(tab).any()
    generate_refused(tab, "map 1 is empty (all black), so it asks for nothing; draw an edge")
    # A map of another size says what becomes of it, a kind that nothing follows says so.
    wide = tmp_path / "wide.png"
    Image.new("L", (64, 32), 255).save(wide)
    upload(tab, wide)
    tab.get_by_label("Map 1", exact=True).click()
    page.get_by_role("option", name="None: this is already a map").click()
    expect(note).to_contain_text("What kind of map this is, is not known; choose one under")
    expect(note).to_contain_text("has 64 × 32 pixels, the picture 32 × 32: it is cropped")
    tab.get_by_label("Map 1", exact=True).click()
    page.get_by_role("option", name="Scribble (no ControlNet)").click()
    expect(note).to_contain_text("No ControlNet here for basic is known to follow this kind of map")
    tab.get_by_label("ControlNet 1", exact=True).click()
    page.get_by_role("option", name="net-pose", exact=True).click()
    expect(note).to_contain_text("net-pose follows this map.")
