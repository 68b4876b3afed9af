"""Models that arrive while the page is open are found by the button, good ones and others."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Page, expect
from safetensors.torch import save_file

from bench.peer import Peer
from tests.helpers import ldm
from tests.ui.page_server import Site

NAME = "fresh.safetensors"


def test_a_file_dropped_beside_the_others_can_be_chosen_and_used(
    page: Page, site: Site, models: Path
) -> None:
    # A page lists the models once more while it loads; a file that came before that would be there.
    page.wait_for_load_state("networkidle")
    try:
        save_file(ldm.sd_checkpoint(Peer.load(models / "basic").pipe), models / NAME)
        (models / "old.ckpt").write_bytes(b"\x80\x04")
        tab = page.locator("#text-to-image-tab")
        tab.get_by_label("Model", exact=True).click()
        expect(page.get_by_role("option")).to_have_count(2)
        page.keyboard.press("Escape")
        tab.get_by_role("button", name="Refresh models").click()
        expect(page.get_by_text("3 models can be used. Not old.ckpt")).to_be_visible()
        expect(tab.get_by_label("Model", exact=True)).to_have_value("basic")
        tab.get_by_label("Model", exact=True).click()
        page.get_by_role("option", name=NAME).click()
        page.get_by_label("Prompt", exact=True).fill("an apple")
        tab.get_by_role("spinbutton", name="Steps").fill("2")
        tab.get_by_role("button", name="Generate", exact=True).click()
        expect(page.locator("#text-to-image-run img").first).to_be_visible()
        assert site.newest_run().requests[0].model == NAME
    finally:
        (models / NAME).unlink(missing_ok=True)
        (models / "old.ckpt").unlink(missing_ok=True)
        shutil.rmtree(models / "fresh", ignore_errors=True)
