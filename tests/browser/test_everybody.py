"""The page serves people with a keyboard alone, in the dark, on a phone, and with a broken connection."""

from playwright.async_api import Browser, Page, expect
from slack_sdk.web.async_client import AsyncWebClient

from tests.browser.conftest import Door, Heard, Wire


async def test_the_whole_way_by_keyboard(page: Page, heard: Heard, bot: AsyncWebClient) -> None:
    await expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    await page.keyboard.type("first line")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("second")
    await page.keyboard.press("Enter")
    mention = await heard.next("app_mention")
    assert mention["text"] == "<@UBOT> first line\nsecond"
    await expect(page.get_by_role("textbox", name="Reply in this thread")).to_be_focused()
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await expect(page.locator("#thread")).to_be_hidden()
    await expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    # Until it is drawn there is nothing to step to.
    await expect(page.locator("#channel-messages > li")).to_have_count(1)
    await page.keyboard.press("Escape")
    await page.keyboard.press("j")
    await expect(page.locator("#channel-messages > li").last).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#thread")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await page.keyboard.press("c")
    await expect(page.locator("#channels a[aria-current]")).to_be_focused()


async def test_dark_follows_the_system_and_can_be_chosen(page: Page) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(colour)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(colour)
    assert light != dark
    await page.get_by_role("button", name="Theme: as the system").click()
    assert await page.evaluate(colour) == light
    await page.get_by_role("button", name="Theme: light").click()
    await page.emulate_media(color_scheme="light")
    await page.reload()
    await expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert await page.evaluate(colour) == dark


async def test_on_a_phone_panels_are_screens(browser: Browser, door: Door, bot: AsyncWebClient) -> None:
    root = await bot.chat_postMessage(channel="C1", text="root " + "w" * 200)
    row = "| " + " | ".join(["wide cell"] * 4) + " |"
    wide = f"| a | b | c | d |\n|-|-|-|-|\n{row}\n\n```\n{'x' * 300}\n```"
    await bot.chat_postMessage(
        channel="C1", thread_ts=root["ts"], text="reply", blocks=[{"type": "markdown", "text": wide}]
    )
    page = await browser.new_page(viewport={"width": 380, "height": 740}, has_touch=True, is_mobile=True)
    await page.goto(f"{door.url}/")
    await page.get_by_role("link", name="#general").click()
    await expect(page.locator("#places")).to_be_hidden()
    await page.get_by_role("button", name="1 reply").click()
    await expect(page.locator("#channel")).to_be_hidden()
    await expect(page.locator("#thread-messages pre")).to_be_visible()
    width = "document.documentElement.scrollWidth"
    assert await page.evaluate(width) == 380, "nothing may push the page sideways"
    await page.get_by_role("link", name="Back to the channel").click()
    await expect(page.locator("#channel")).to_be_visible()
    await page.get_by_role("link", name="Back to the conversations").click()
    await expect(page.locator("#places")).to_be_visible()
    await page.close()


async def test_a_lost_connection_is_told_and_mended(
    browser: Browser, wire: Wire, bot: AsyncWebClient
) -> None:
    page = await browser.new_page()
    await page.goto(f"{wire.url}/")
    await expect(page.locator("#empty")).to_be_visible()
    await wire.cut()
    await expect(page.locator("#offline")).to_be_visible()
    box = page.get_by_role("textbox", name="Message")
    await box.fill("hello?")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("does not answer")
    await expect(box).to_have_value("hello?")
    await bot.chat_postMessage(channel="C1", text="said meanwhile")
    await wire.mend()
    await expect(page.locator("#offline")).to_be_hidden()
    await expect(page.locator("#channel-messages")).to_contain_text("said meanwhile")
    await page.close()


async def test_it_stays_where_one_reads_and_follows_at_the_end(
    page: Page, asked: str, bot: AsyncWebClient
) -> None:
    long = "\n\n".join(f"Paragraph {number}" for number in range(60))
    await bot.chat_postMessage(
        channel="C1", thread_ts=asked, text="x", blocks=[{"type": "markdown", "text": long}]
    )
    messages = page.locator("#thread-messages")
    await expect(messages).to_contain_text("Paragraph 59")
    distance = "node => node.scrollHeight - node.clientHeight - node.scrollTop"
    assert await messages.evaluate(distance) < 10
    await messages.evaluate("node => new Promise(done => { node.onscroll = done; node.scrollTop = 100; })")
    await bot.chat_postMessage(channel="C1", thread_ts=asked, text="new at the end")
    await expect(page.get_by_role("button", name="New below")).to_be_visible()
    assert await messages.evaluate("node => node.scrollTop") == 100
    await page.get_by_role("button", name="New below").click()
    assert await messages.evaluate(distance) < 10
    await page.get_by_role("textbox", name="Reply in this thread").fill("a\nb\nc\nd\ne")
    await expect(page.get_by_text("new at the end")).to_be_in_viewport()


async def test_an_empty_channel_teaches(page: Page) -> None:
    await page.get_by_role("button", name="Ask @threadmill to find a test that fails and mend it").click()
    await expect(page.get_by_role("textbox", name="Message")).to_have_value(
        "Find a test that fails and mend it"
    )


async def test_a_recording_is_called_one(page: Page) -> None:
    banner = page.get_by_role("note")
    await expect(banner).to_contain_text("not a real agent. Set ANTHROPIC_API_KEY and start again.")
    await banner.get_by_role("button", name="Dismiss").click()
    await expect(banner).to_be_hidden()


async def test_any_address_is_survived(page: Page, door: Door) -> None:
    for screen in ("#/D1", "#/C9", "#/C1/x/y", "#<b>", "#/%22%3E", "#/C1"):
        await page.goto(f"{door.url}/{screen}")
        await page.reload()
        await (
            page.locator("#channels a[aria-current]").or_(page.locator("#directs a[aria-current]")).wait_for()
        )


async def test_a_thread_that_is_gone_leads_back_to_its_channel(page: Page, door: Door) -> None:
    await page.goto(f"{door.url}/#/C2/1712345678.123456")
    await expect(page.get_by_role("alert")).to_contain_text("That thread is gone.")
    await expect(page.locator("#thread")).to_be_hidden()
    await expect(page.locator("#channel-name")).to_have_text("#backend")


async def test_every_control_has_a_name(page: Page, asked: str, bot: AsyncWebClient) -> None:
    nameless = """() => [...document.querySelectorAll("button, a, input, textarea, select")].filter(one =>
      !one.textContent.trim() && !one.getAttribute("aria-label") && !one.labels?.length && !one.title
    ).map(one => one.outerHTML)"""
    assert await page.evaluate(nameless) == []
