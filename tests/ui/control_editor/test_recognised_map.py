"""Pictures that are maps already, and poses without people: what the page says and offers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image, ImageOps
from playwright.sync_api import Locator, Page, expect

from pipelines import Control, InvalidRequest, Request, Studio, preprocessors
from pipelines.preprocessors.skeletons import standing
from tests.pipelines.preprocessors.drawings import figure
from tests.pipelines.preprocessors.map_pictures import openpose, person
from tests.pipelines.preprocessors.photographs import photograph
from tests.ui.control_pages import SIZE, edited, generate, last_request, map_shown, ready, upload
from tests.ui.page_server import Site
from ui.cli.control_option import read_controls
from ui.control_editor.map_state import MapState
from ui.control_editor.recognised_map import (
    AS_MAP,
    AS_PICTURE,
    other_way,
    said_of,
    with_picture,
    with_preprocessor,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pictures")
    cat = photograph("cat")
    edges = preprocessors.run("canny", cat, {}, (512, 512))
    pictures = {
        "edges": edges,
        "skeleton": openpose([person()], (512, 512), hands=False, face=False, half=4),
        "photograph": cat,
        "drawing": figure(),
    }
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in pictures}


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "models", tmp_path / "outputs", device="cpu")
    yield studio
    studio.close()


# ---- the state


def test_a_map_is_used_as_it_is_and_back(studio: Studio, files: dict[str, Path]) -> None:
    edges = studio.add_picture(files["edges"])
    state = with_picture(MapState(), edges, studio)
    assert (state.preprocessor, state.like, state.image) == ("none", "canny", edges)
    assert said_of(state) == (
        "This picture is a map of lines already: it is used as it is.", AS_PICTURE,
    )  # fmt: skip
    back = other_way(state, studio)
    assert (back.preprocessor, back.image, back.original) == ("canny", edges, None)
    assert said_of(back) == ("This picture looks like a map of lines already.", AS_MAP)
    assert other_way(back, studio) == state
    for one in (state, back):
        kept = MapState.read(json.loads(json.dumps(one.kept())), studio)
        assert replace(kept, parameters={}) == one, "a reload keeps the words and the way back"
    assert with_preprocessor(state, "canny", studio) == back, "who takes it again means it"
    photo = studio.add_picture(files["photograph"])
    after = with_picture(state, photo, studio)
    assert (after.preprocessor, said_of(after)) == ("canny", ("", "")), "as it was before"
    assert with_picture(state, None, studio).preprocessor == "canny"


def test_a_skeleton_under_canny_is_offered_and_under_pose_used(
    studio: Studio, files: dict[str, Path]
) -> None:
    skeleton = studio.add_picture(files["skeleton"])
    state = with_picture(MapState(), skeleton, studio)
    assert state.preprocessor == "canny" and said_of(state)[1] == AS_MAP
    for used in (other_way(state, studio), with_preprocessor(state, "pose", studio)):
        assert (used.preprocessor, used.like) == ("none", "pose")
        assert said_of(used)[0].startswith("This picture is a skeleton already")
    ready_made = with_picture(MapState(preprocessor="none"), skeleton, studio)
    assert ready_made.like == "pose", "then its ControlNet is known"


def test_an_inverted_map_is_changed_and_the_picture_comes_back(
    studio: Studio, files: dict[str, Path]
) -> None:
    edges = Image.open(files["edges"])
    page = studio.add_picture(ImageOps.invert(edges))
    state = with_picture(MapState(), page, studio)
    assert np.array_equal(studio.picture(str(state.image)), edges)
    assert "were inverted" in said_of(state)[0]
    assert other_way(state, studio).image == page


# ---- the page


def test_the_page_says_that_a_picture_is_a_map_and_takes_it_back(
    page: Page, site: Site, tab: Locator, files: dict[str, Path]
) -> None:
    upload(tab, files["edges"])
    ready(tab, "edge")
    said = tab.locator("#controlnet-recognised-1")
    expect(said).to_contain_text("is a map of lines already: it is used as it is")
    expect(tab.get_by_label("Map 1", exact=True)).to_have_value("None: this is already a map")
    as_it_is = preprocessors.run("none", Image.open(files["edges"]), {}, SIZE)
    assert (map_shown(tab) == np.asarray(as_it_is)).all()
    generate(tab)
    control = last_request(site).controls[0]
    assert (control.preprocessor, control.model) == ("none", "net-canny")
    tab.get_by_role("button", name=AS_PICTURE).click()
    expect(said).to_contain_text("looks like a map of lines already")
    expect(tab.get_by_label("Map 1", exact=True)).to_have_value("Canny edges")
    wanted = preprocessors.run("canny", Image.open(files["edges"]), {}, SIZE)
    assert (map_shown(tab) == np.asarray(wanted)).all()
    generate(tab)
    assert last_request(site).controls[0].preprocessor == "canny"
    page.reload()
    page.get_by_role("tab", name="ControlNet", exact=True).click()
    expect(said).to_contain_text("looks like a map of lines already")
    tab.get_by_role("button", name=AS_MAP).click()
    expect(said).to_contain_text("it is used as it is")
    tab.locator("#controlnet-picture-1").get_by_role("button", name="Remove").first.click()
    upload(tab, files["photograph"])
    expect(said).to_be_hidden()
    expect(tab.get_by_label("Map 1", exact=True)).to_have_value("Canny edges")


def test_where_nobody_is_found_a_standing_figure_is_put_and_used(
    page: Page, site: Site, tab: Locator, files: dict[str, Path]
) -> None:
    upload(tab, files["drawing"])
    ready(tab, "edge")
    tab.get_by_label("Map 1", exact=True).click()
    page.get_by_role("option", name="Pose").first.click()
    ready(tab, "pose")
    start = tab.get_by_role("button", name="Start with a standing figure")
    if preprocessors.available("pose"):
        expect(tab.locator(".cs-editor .cs-said")).to_contain_text("Nobody was found")
    edited(page, start.click)
    expect(start).to_be_hidden()
    expect(tab.locator(".cs-joint")).to_have_count(18)
    generate(tab)
    control = last_request(site).controls[0]
    wanted = preprocessors.draw_skeletons([standing(SIZE)], SIZE)
    assert np.array_equal(site.studio.picture(control.image), wanted)
    assert control.model == "net-pose"


def test_a_map_with_almost_nothing_says_so_until_it_is_drawn_on(
    tab: Locator, page: Page, tmp_path: Path
) -> None:
    faint = tmp_path / "faint.png"
    Image.new("RGB", (64, 64), "#808080").save(faint)
    upload(tab, faint)
    ready(tab, "edge")
    said = tab.locator(".cs-editor .cs-said")
    expect(said.first).to_contain_text("Nothing is drawn in this map: lower both thresholds")
    canvas = tab.locator("#controlnet-editor-1 canvas.cs-edit-map")
    edited(page, canvas.click)
    expect(said.first).to_be_hidden()


# ---- programs and the command line


def test_programs_are_told_and_may_insist(site: Site, files: dict[str, Path]) -> None:
    client = Client(site.url, verbose=False)

    def asked(**given: object) -> tuple[Image.Image, dict[str, object]]:
        file, used = client.predict(
            handle_file(files["edges"]), preprocessor="canny", api_name="/preprocess", **given
        )
        path = file["path"] if isinstance(file, dict) else file
        return Image.open(io.BytesIO(Path(path).read_bytes())).convert("RGB"), json.loads(used)

    edges = Image.open(files["edges"])
    made, used = asked()
    assert np.array_equal(made, edges) and used["preprocessor"] == "none"
    assert used["notes"] == ["This picture is a map of lines already: it is used as it is."]
    made, used = asked(treat_as="picture")
    assert np.array_equal(made, preprocessors.run("canny", edges, {}, edges.size))
    assert used["preprocessor"] == "canny" and used["notes"] == []
    with pytest.raises(Exception, match="treat_as is 'film'; it must be one of auto, picture, map"):
        asked(treat_as="film")
    client.predict(
        handle_file(files["skeleton"]), preprocessor="pose", model="basic", steps=1,
        api_name="/controlnet",
    )  # fmt: skip
    control = last_request(site).controls[0]
    assert (control.preprocessor, control.model) == ("none", "net-pose")


def test_the_command_line_says_on_stderr_what_it_recognised(
    site: Site, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    request = Request(model="basic", width=32, height=32)

    def treated(text: str) -> tuple[Control, str]:
        controls = read_controls([text]).treated(site.studio, request)
        return controls.controls[0], capsys.readouterr().err

    control, said = treated(f"{files['edges']}:canny:strength=0.5")
    assert (control.preprocessor, control.model, control.strength) == ("none", "net-canny", 0.5)
    assert said == (
        "note: This picture is a map of lines already: it is used as it is. "
        "treat_as=picture makes a map of it instead.\n"
    )
    control, said = treated(f"{files['edges']}:canny:treat_as=picture")
    assert (control.preprocessor, said) == ("canny", "")
    control, said = treated(f"{files['photograph']}:canny:treat_as=map")
    assert (control.preprocessor, control.model, said) == ("none", "net-canny", "")
    control, said = treated(f"{files['edges']}:scribble")
    assert control.preprocessor == "scribble" and "Name its ControlNet (model=…)" in said
    with pytest.raises(InvalidRequest, match="treat_as is 'film'"):
        read_controls([f"{files['edges']}:canny:treat_as=film"])
