"""What a person does on the text-to-image tab, in words."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

from PIL import Image
from playwright.sync_api import Locator, Page


def fill(page: Page, **fields: object) -> None:
    """Type into the form: label to value."""
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(str(value))


def choose(page: Page, label: str, option: str) -> None:
    """Pick from a menu."""
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def fix_seed(page: Page, seed: int) -> None:
    page.get_by_label("Fixed", exact=True).check()
    fill(page, Seed_number=seed)


def generate(page: Page) -> None:
    page.get_by_role("button", name="Generate", exact=True).click()


def run_box(page: Page) -> Locator:
    return page.locator(".cs-run")


def status(page: Page) -> str:
    return run_box(page).get_attribute("data-status") or ""


def wait_status(page: Page, wanted: str, seconds: float = 40) -> None:
    page.wait_for_selector(f'.cs-run[data-status="{wanted}"]', timeout=1000 * seconds)


def picture_source(page: Page, index: int = 0) -> str:
    return page.locator(".cs-cell img").nth(index).get_attribute("src") or ""


def picture(page: Page, index: int = 0) -> Image.Image:
    """The very bytes the browser shows, decoded."""
    address = page.locator(".cs-cell img").nth(index).evaluate("image => image.src")
    return Image.open(io.BytesIO(page.request.get(address).body())).convert("RGB")


def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Wait for something outside the browser."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.02)
