"""A person at the page, the real Claude Code behind it, and everything between them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import DESKTOP
from tests.e2e.conftest import System, make_system
from tests.messages_api import Call, MessagesApi, Say


@pytest.fixture
async def model() -> AsyncIterator[MessagesApi]:
    async with MessagesApi() as api:
        yield api


@pytest.fixture
async def whole(tmp_path: Path, model: MessagesApi) -> AsyncIterator[System]:
    system = make_system(tmp_path, model.url, {"THREADMILL_PERMISSION_MODE": "ask"})
    await system.start()
    yield system
    await system.stop()


async def test_somebody_asks_allows_a_command_and_reads_the_answer(
    whole: System, model: MessagesApi, browser: Browser
) -> None:
    model.reply_to(
        "greet the world",
        Call("Bash", {"command": "echo hello > world.txt"}),
        Say("The world is **greeted**."),
    )
    page = await browser.new_page(viewport=DESKTOP)
    await page.goto(whole.dev.url)
    await page.get_by_placeholder("Message #general").fill("@threadmill greet the world")
    await page.keyboard.press("Enter")
    await page.get_by_text("greet the world").first.click()
    await expect(page.get_by_text("Bash: echo hello > world.txt").first).to_be_visible()
    await page.get_by_role("button", name="Allow once").click()
    await expect(page.locator("strong", has_text="greeted")).to_be_visible()
    await expect(page.get_by_text("Idle", exact=True)).to_be_visible()
    await expect(page.get_by_role("button", name="Allow once")).to_have_count(0)
