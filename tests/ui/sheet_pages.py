"""What a person does on the tabs that make sheets, in words."""

from __future__ import annotations

import io

from PIL import Image
from playwright.sync_api import Locator, Page, expect


def open_tab(page: Page, name: str) -> Locator:
    """The tab, its prompt and seed filled in. Tabs that were visited stay in the page, hidden."""
    page.get_by_role("tab", name=name, exact=True).click()
    tab = page.locator(".cs-tab:visible")
    expect(tab).to_have_count(1)
    tab.get_by_label("Prompt", exact=True).fill("a red apple")
    tab.get_by_label("Fixed", exact=True).check()
    tab.get_by_label("Seed number", exact=True).fill("7")
    return tab


def generate(tab: Locator) -> None:
    tab.get_by_role("button", name="Generate", exact=True).click()
    tab.locator('.cs-run[data-status="done"]').wait_for()


def cells(page: Page, tab: Locator) -> list[Image.Image]:
    """The bytes the browser shows, cell by cell."""
    addresses = tab.locator(".cs-cell img").evaluate_all("images => images.map(i => i.src)")
    return [
        Image.open(io.BytesIO(page.request.get(address).body())).convert("RGB")
        for address in addresses
    ]


def headers(tab: Locator, kind: str) -> list[str]:
    return tab.locator(f".cs-{kind}").all_text_contents()
