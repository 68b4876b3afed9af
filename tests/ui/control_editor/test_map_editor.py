"""The map editor alone on a page: what is drawn in the browser arrives on the server, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from pipelines import InvalidRequest
from pipelines.preprocessors.skeletons import Skeleton
from tests.ui.page_server import PATIENCE_MS
from tests.ui.pages import until
from ui.control_editor.map_editor import (
    POSE,
    Edit,
    editor_value,
    guess_kind,
    map_editor,
    png_url,
    read_edit,
)
from ui.theme import looks

SIDE = 128
FIGURE = [list(joint) for joint in POSE["figure"]]
PALETTE = [("sky", "#06e6e6"), ("tree", "#04c803"), ("wall", "#787878")]


def maps() -> dict[str, dict[str, Any]]:
    """What the buttons of the test's page put into the editor."""
    black = Image.new("RGB", (SIDE, SIDE))
    paper, ink = Image.new("RGB", (64, 32), "white"), Image.new("RGB", (64, 32))
    # Full of colour, so that a lossy way to the server would show.
    noise = np.random.default_rng(1).integers(0, 256, (96, SIDE, 3), dtype=np.uint8)
    halves = Image.new("RGB", (SIDE, 96), "#06e6e6")
    halves.paste("#04c803", (0, 48, SIDE, 96))
    halves.putpixel((5, 5), (255, 0, 0))
    shown = png_url(Image.fromarray(noise))
    return {
        "edge": editor_value("edge-1", "edge", black, source=shown, fit="crop"),
        "edited": editor_value("edge-2", "edge", paper, computed=ink),
        "depth": editor_value("depth-1", "depth", Image.new("RGB", (SIDE, 96), "#646464")),
        "segment": editor_value("segment-1", "segment", halves, palette=PALETTE),
        "noise": editor_value("noise-1", "edge", Image.fromarray(noise)),
        "pose": editor_value("pose-1", "pose", black, skeletons=[Skeleton.of(POSE["figure"])]),
        "view": editor_value("view-1", "view", halves),
        "nothing": {},
    }  # fmt: skip


class Desk:
    """A page that holds one editor, and what it sent."""

    def __init__(self) -> None:
        self.edits: list[Edit] = []
        self.page: Page
        self.editor: Locator

    def show(self, name: str) -> None:
        self.page.get_by_role("button", name=f"show {name}", exact=True).click()
        state = "empty" if name == "nothing" else "ready"
        kind = "" if name == "nothing" else maps()[name]["kind"]
        self.page.wait_for_selector(f'.cs-editor[data-state="{state}"][data-kind="{kind}"]')
        self.edits.clear()

    def newest(self, count: int = 1) -> Edit:
        """The last of so many edits, each waited for."""
        until(lambda: len(self.edits) >= count, f"{count} edits, of which {len(self.edits)} came")
        assert len(self.edits) == count
        return self.edits[-1]

    def pixels(self, count: int = 1) -> np.ndarray[Any, Any]:
        return np.asarray(self.newest(count).picture)

    def button(self, name: str) -> Locator:
        return self.editor.get_by_role("button", name=name, exact=True)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the map, in its pixels, is on the screen."""
        box = self.page.locator(".cs-edit-map").bounding_box()
        size = self.page.locator(".cs-edit-map").evaluate("map => [map.width, map.height]")
        assert box is not None
        return box["x"] + x * box["width"] / size[0], box["y"] + y * box["height"] / size[1]

    def drag(self, *points: tuple[float, float], shift: bool = False) -> None:
        """Press at the first point of the map and release at the last."""
        mouse = self.page.mouse
        mouse.move(*self.place(*points[0]))
        if shift:
            self.page.keyboard.down("Shift")
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.place(*point), steps=3)
        mouse.up()
        if shift:
            self.page.keyboard.up("Shift")

    def set_size(self, pixels: int) -> None:
        self.editor.get_by_label("Size").fill(str(pixels))


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, list[Edit]]]:
    edits: list[Edit] = []
    with gr.Blocks() as blocks:
        editor = map_editor(elem_id="editor", empty="No map yet.")

        def keep(event: gr.EventData) -> None:
            edits.append(read_edit(event))

        editor.edited(keep, queue=False, trigger_mode="multiple")
        for name, value in maps().items():
            gr.Button(f"show {name}").click(
                lambda value=value: value or None, None, editor, queue=False
            )
    _, url, _ = blocks.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **looks()
    )
    yield url, edits
    blocks.close()


@pytest.fixture
def desk(browser: Browser, served: tuple[str, list[Edit]]) -> Iterator[Desk]:
    url, edits = served
    edits.clear()
    context = browser.new_context(viewport={"width": 1100, "height": 1200}, has_touch=True)
    context.set_default_timeout(PATIENCE_MS)
    desk = Desk()
    desk.edits = edits
    desk.page = context.new_page()
    broken: list[str] = []
    desk.page.on("pageerror", lambda error: broken.append(str(error)))
    desk.page.goto(url)
    desk.editor = desk.page.locator(".cs-editor")
    expect(desk.editor).to_contain_text("No map yet.")
    yield desk
    context.close()
    assert not broken, broken


def white(pixels: np.ndarray[Any, Any]) -> set[tuple[int, int]]:
    """The places (x, y) of white pixels; all others must be black."""
    assert set(np.unique(pixels)) <= {0, 255}
    return {(int(x), int(y)) for y, x in zip(*np.nonzero(pixels[..., 0]), strict=True)}


def near(points: set[tuple[int, int]], start: tuple[float, float], end: tuple[float, float]) -> Any:
    """How far each of the points is, from its middle, from a straight line."""
    line = np.subtract(end, start)
    apart = np.asarray(sorted(points)) + 0.5 - start
    share = np.clip(apart @ line / (line @ line), 0, 1)
    return np.hypot(*(apart - share[:, None] * line).T)


def test_a_stroke_arrives_as_it_was_painted(desk: Desk) -> None:
    desk.show("edge")
    desk.set_size(6)
    desk.drag((20, 30), (90, 30), (90, 100))
    edit = desk.newest()
    assert (edit.id, edit.picture.size, edit.skeletons) == ("edge-1", (SIDE, SIDE), None)
    painted = white(np.asarray(edit.picture))
    # Every pixel within 3 of the way, and no other: a round brush of 6 has that radius.
    every = {(x, y) for x in range(SIDE) for y in range(SIDE)}
    way = np.minimum(near(every, (20, 30), (90, 30)), near(every, (90, 30), (90, 100)))
    for (x, y), apart in zip(sorted(every), way, strict=True):
        if abs(apart - 3) > 0.35:  # the mouse is where the screen's pixels are, not quite there
            assert ((x, y) in painted) == (apart < 3), (x, y)


def test_what_was_not_painted_is_not_changed(desk: Desk) -> None:
    desk.show("noise")
    before = np.asarray(decoded("noise"))
    desk.set_size(4)
    desk.drag((30, 40), (50, 40))
    after = desk.pixels()
    changed = (before != after).any(-1)
    assert 60 < changed.sum() < 140
    assert not changed[:36].any() and not changed[45:].any()
    assert (after[changed] == 255).all()


def decoded(name: str) -> Image.Image:
    """The map that a button shows."""
    event = gr.EventData(None, {"id": "", "map": maps()[name]["map"]})
    return read_edit(event).picture


def test_erase_undo_redo_and_start_over(desk: Desk) -> None:
    desk.show("edited")  # white all over, from a black one
    desk.set_size(8)
    desk.button("Erase").click()
    desk.drag((10, 16), (50, 16))
    erased = desk.pixels(1)
    assert not erased[16, 10:50].any() and (erased[:8] == 255).all()
    desk.button("Paint").click()
    desk.drag((30, 4), (30, 28))
    painted = desk.pixels(2)
    assert (painted[16, 30] == 255).all() and not painted[16, 15].any()
    desk.page.keyboard.press("Control+z")
    assert (desk.pixels(3) == erased).all()
    desk.button("Undo").click()
    assert (desk.pixels(4) == 255).all()
    expect(desk.button("Undo")).to_be_disabled()
    desk.page.keyboard.press("Control+Shift+z")
    assert (desk.pixels(5) == erased).all()
    desk.page.locator(".cs-edit-map").focus()
    desk.page.keyboard.press("Control+y")
    assert (desk.pixels(6) == painted).all()
    desk.button("Start over").click()
    assert not desk.pixels(7).any(), "the map as it was made"
    desk.button("Undo").click()
    assert (desk.pixels(8) == painted).all()


def test_shift_paints_straight_lines(desk: Desk) -> None:
    desk.show("edge")
    desk.set_size(4)
    desk.drag((20, 20), (60, 90), (100, 40), shift=True)
    points = white(desk.pixels(1))
    assert near(points, (20, 20), (100, 40)).max() < 2.6
    assert {(60, 30), (100, 40)} <= points
    # A press with Shift joins on to the last stroke's end.
    desk.drag((100, 110), shift=True)
    more = white(desk.pixels(2)) - points
    assert len(more) > 100 and near(more, (100, 40), (100, 110)).max() < 2.6


def test_depth_is_lightened_and_darkened_softly(desk: Desk) -> None:
    desk.show("depth")
    desk.set_size(40)
    desk.editor.get_by_label("Strength").fill("50")
    desk.drag((64, 48), (66, 48), (64, 48), (65, 48))  # back and forth: covered once
    nearer = desk.pixels(1).astype(int)
    assert (nearer[..., 0] == nearer[..., 1]).all()
    assert 148 <= nearer[48, 64, 0] <= 150
    ring = nearer[48, 64:86, 0]
    assert (np.diff(ring) <= 0).all() and ring[-1] == 100
    desk.button("Farther").click()
    desk.drag((20, 20), (21, 20))
    farther = desk.pixels(2).astype(int)
    assert 50 <= farther[20, 20, 0] <= 52 and farther[48, 64, 0] == nearer[48, 64, 0]


def test_segments_are_painted_and_filled_in_exact_colours(desk: Desk) -> None:
    desk.show("segment")
    desk.editor.get_by_label("Colour tree").click()
    desk.set_size(10)
    desk.drag((64, 20), (64, 21))
    painted = desk.pixels(1)
    assert painted[20, 64].tolist() == [4, 200, 3]
    assert {tuple(c) for c in painted.reshape(-1, 3).tolist()} == {
        (6, 230, 230), (4, 200, 3), (255, 0, 0)
    }  # fmt: skip
    desk.editor.get_by_label("All colours").select_option("wall")
    desk.button("Fill").click()
    desk.page.mouse.click(*desk.place(100.5, 10.5))
    filled = desk.pixels(2)
    # The sky, as far as it reaches: not the red pixel, not the dab, not the trees.
    expected = painted.copy()
    expected[(painted == [6, 230, 230]).all(-1)] = [0x78] * 3
    assert (filled == expected).all()
    desk.page.keyboard.down("Alt")
    desk.page.mouse.click(*desk.place(5.5, 5.5))
    desk.page.keyboard.up("Alt")
    expect(desk.editor.get_by_label("Colour #ff0000")).to_have_attribute("aria-pressed", "true")


def joint(desk: Desk, name: str) -> Locator:
    return desk.button(f"Joint: {name}")


def test_a_joint_is_dragged_and_its_limbs_follow(desk: Desk) -> None:
    desk.show("pose")
    wrist = FIGURE[4]
    desk.drag((wrist[0] * SIDE, wrist[1] * SIDE), (60, 60), (20, 30))
    edit = desk.newest()
    assert edit.skeletons is not None and len(edit.skeletons) == 1
    for i, (was, now) in enumerate(zip(FIGURE, edit.skeletons[0].joints, strict=True)):
        wanted = (20 / SIDE, 30 / SIDE) if i == 4 else was
        assert now == pytest.approx(wanted, abs=0.006), POSE["joints"][i]
    pixels = np.asarray(edit.picture)
    assert pixels[30, 20].tolist() == list(POSE["colours"][4])
    elbow = np.multiply(FIGURE[3], SIDE)
    middle = (np.add(elbow, (20, 30)) / 2).astype(int)
    assert pixels[middle[1], middle[0]].tolist() == pytest.approx([153, 153, 0], abs=1)
    gone = np.multiply(wrist, SIDE).astype(int)
    assert not pixels[gone[1], gone[0]].any()


def test_joints_are_hidden_added_and_moved_by_keys(desk: Desk) -> None:
    desk.show("pose")
    joint(desk, "left ear").focus()
    desk.page.keyboard.press("Delete")
    edit = desk.newest(1)
    assert edit.skeletons is not None and edit.skeletons[0].joints[17] is None
    expect(joint(desk, "left ear")).to_have_count(0)
    desk.page.mouse.dblclick(*desk.place(*np.multiply(FIGURE[10], SIDE)))
    edit = desk.newest(2)
    assert edit.skeletons is not None and edit.skeletons[0].joints[10] is None
    desk.button("Add left ear").click()
    edit = desk.newest(3)
    assert edit.skeletons is not None
    assert (
        edit.skeletons[0].joints[17] == pytest.approx(FIGURE[17])
        and edit.skeletons[0].joints[10] is None
    )
    expect(joint(desk, "left ear")).to_be_focused()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowUp"):
        desk.page.keyboard.press(key)
    edit = desk.newest(4)  # the keys rested: told once
    moved = (FIGURE[17][0] + 2 / SIDE, FIGURE[17][1] - 8 / SIDE)
    assert edit.skeletons is not None and edit.skeletons[0].joints[17] == pytest.approx(moved)
    desk.page.keyboard.press("Control+z")
    edit = desk.newest(5)
    assert edit.skeletons is not None
    assert edit.skeletons[0].joints[17] == pytest.approx((moved[0], FIGURE[17][1]))
    desk.button("Start over").click()
    edit = desk.newest(6)
    assert edit.skeletons is not None
    assert [list(point or ()) for point in edit.skeletons[0].joints] == FIGURE


def test_people_are_added_and_removed(desk: Desk) -> None:
    desk.show("pose")
    desk.button("Remove person 1").click()
    edit = desk.newest(1)
    assert edit.skeletons == () and not np.asarray(edit.picture).any()
    desk.button("Add a person").click()
    desk.button("Add a person").click()
    edit = desk.newest(3)
    assert edit.skeletons is not None and len(edit.skeletons) == 2
    expect(joint(desk, "nose of person 2")).to_be_focused()


def test_the_map_is_painted_by_keys_alone(desk: Desk) -> None:
    desk.show("edge")
    desk.set_size(2)
    canvas = desk.page.locator(".cs-edit-map")
    canvas.focus()
    desk.page.keyboard.press("Tab")
    desk.page.keyboard.press("Shift+Tab")
    expect(canvas).to_be_focused()
    outline = canvas.evaluate("map => getComputedStyle(map).outlineStyle")
    assert outline == "solid", "the focus is seen"
    for key in ("Shift+ArrowLeft", "Enter", *["ArrowRight"] * 5, "Enter"):
        desk.page.keyboard.press(key)
    drawn = white(desk.pixels(1))
    assert {(x, 64) for x in range(56, 62)} <= drawn and max(x for x, _ in drawn) == 62
    desk.page.keyboard.press("e")
    desk.page.keyboard.press("Space")
    erased = white(desk.pixels(2))
    assert (61, 64) not in erased and (57, 64) in erased


def test_a_finger_and_a_pen_paint_too(desk: Desk) -> None:
    desk.show("edge")
    session = desk.page.context.new_cdp_session(desk.page)
    for kind, start in (("touchStart", 20), ("touchMove", 60), ("touchMove", 90)):
        x, y = desk.place(start, 50)
        points = [{"x": x, "y": y}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    pixels = desk.pixels(1)
    assert (pixels[50, 20:90] == 255).all()
    for kind, start in (("mousePressed", 20), ("mouseMoved", 90), ("mouseReleased", 90)):
        x, y = desk.place(start, 100)
        how = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "pointerType": "pen"}
        session.send("Input.dispatchMouseEvent", {**how, "clickCount": 1})
    assert (desk.pixels(2)[100, 20:90] == 255).all()


def test_small_maps_are_shown_enlarged_and_sharp(desk: Desk) -> None:
    desk.show("edge")
    canvas = desk.page.locator(".cs-edit-map")
    box = canvas.bounding_box()
    assert box is not None and box["width"] == 3 * SIDE
    assert canvas.evaluate("map => getComputedStyle(map).imageRendering") == "pixelated"
    desk.button("Larger").click()
    box = canvas.bounding_box()
    assert box is not None and box["width"] > 3 * SIDE and box["width"] % SIDE == 0


def test_other_maps_are_only_shown(desk: Desk) -> None:
    desk.show("view")
    desk.drag((20, 20), (60, 60))
    expect(desk.button("Undo")).to_be_hidden()
    desk.page.wait_for_timeout(200)
    assert not desk.edits
    desk.show("nothing")
    expect(desk.editor).to_contain_text("No map yet.")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "must be a PNG's data URI"),
        ({"map": "data:image/png;base64,%%"}, "no base64"),
        ({"map": "data:image/png;base64,aGVsbG8="}, "no picture"),
        ({"skeletons": {}}, "list of at most 16 people"),
        ({"skeletons": [[None] * 17]}, "must have 18 of each"),
        ({"skeletons": [[[0.5, 1.5]] + [None] * 17]}, "must be from 0 to 1"),
        ({"skeletons": [[[float("nan"), 0.5]] + [None] * 17]}, "must be from 0 to 1"),
    ],
)
def test_what_no_editor_sends_is_refused(data: dict[str, Any], message: str) -> None:
    picture = {} if "map" in data or not data else {"map": png_url(Image.new("RGB", (8, 8)))}
    with pytest.raises(InvalidRequest, match=message):
        read_edit(gr.EventData(None, {**picture, **data}))


def test_the_kind_of_a_ready_made_map_is_guessed() -> None:
    edges = Image.new("RGB", (64, 64))
    edges.paste("white", (10, 10, 12, 60))
    assert guess_kind(edges) == "edge"
    assert guess_kind(Image.linear_gradient("L").convert("RGB")) == "depth"
    assert guess_kind(decoded("segment")) == "segment"
    assert guess_kind(decoded("noise")) == "view"
