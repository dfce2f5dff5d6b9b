"""A headless Chromium that looks at the page and takes down whatever it complains of or asks for elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from viewing.tools import tool

# Milliseconds; the machine may be busy.
PATIENCE = 120_000


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium of the distribution, driven by Playwright."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'trm_jax[dev]'")
    path = tool("chromium", "chromium")
    with driver.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Visit:
    """One look at the page: what it says, and `faults`, what should not have happened."""

    def __init__(self, browser: Any, url: str, **settings: Any) -> None:
        self.faults: list[str] = []
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("requestfailed", lambda request: self.faults.append(f"failed: {request.url}"))
        self.context.on("request", lambda request: self._look_at(request, url))
        self.page.goto(url)
        self.page.wait_for_selector("#solve:enabled")

    def _look_at(self, request: Any, url: str) -> None:
        if not request.url.startswith(url):
            self.faults.append(f"foreign: {request.url}")

    @property
    def status(self) -> str:
        """What the page says below the board."""
        return str(self.page.text_content("#status"))

    @property
    def board(self) -> str:
        """The digits on the board, . where there is none."""
        return "".join(
            self.page.eval_on_selector_all(
                ".cell", "cells => cells.map(cell => /^.$/.test(cell.textContent) ? cell.textContent : '.')"
            )
        )

    def paste(self, text: str) -> str:
        """Puts a text into the field, and returns what the page says of it."""
        self.page.fill("#text", text)
        return str(self.page.text_content("#text-said"))

    def solve(self) -> str:
        """Solves what is on the board, as fast as it goes; returns the last status."""
        self.page.select_option("#pace", "0")
        self.page.click("#solve")
        self.page.wait_for_selector("#status.solved, #status.refused")
        return self.status
