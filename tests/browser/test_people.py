"""What people do with messages: react, edit, delete, attach, mention, be somebody else."""

import asyncio
import re
from pathlib import Path

from playwright.async_api import Page, Route, expect
from slack_sdk.web.async_client import AsyncWebClient

from tests.browser.conftest import Heard


async def test_the_reaction_that_stops_can_be_given_and_taken_back(
    page: Page, asked: str, heard: Heard
) -> None:
    message = page.locator("#thread-messages > li").first
    await message.hover()
    await message.get_by_role("button", name="Add a reaction").click()
    await page.get_by_role("menuitem", name="octagonal sign").click()
    added = await heard.next("reaction_added")
    assert (added["reaction"], added["item"]["ts"]) == ("octagonal_sign", asked)
    chip = message.get_by_role("button", name=re.compile("octagonal sign, 1: Ada Lovelace"))
    await expect(chip).to_have_attribute("aria-pressed", "true")
    await chip.click()
    await expect(chip).to_have_count(0)


async def test_the_bots_reactions_follow_the_turn(page: Page, asked: str, bot: AsyncWebClient) -> None:
    chips = page.locator("#thread-messages > li .chip")
    await bot.reactions_add(channel="C1", timestamp=asked, name="eyes")
    await expect(chips).to_have_text(["👀1"])
    await bot.reactions_remove(channel="C1", timestamp=asked, name="eyes")
    await bot.reactions_add(channel="C1", timestamp=asked, name="white_check_mark")
    await expect(chips).to_have_text(["✅1"])


async def test_an_own_message_is_edited_in_place(page: Page, asked: str) -> None:
    message = page.locator("#thread-messages > li").first
    await message.hover()
    await message.get_by_role("button", name="Edit").click()
    editor = message.get_by_role("textbox", name="Edit your message")
    await expect(editor).to_have_value("@threadmill tidy the imports")
    await editor.fill("@threadmill tidy the *exports*")
    await editor.press("Enter")
    await expect(message.locator(".content strong")).to_have_text("exports")
    await expect(message).to_contain_text("edited")


async def test_deleting_asks_first(page: Page, asked: str) -> None:
    message = page.locator("#channel-messages > li").first
    await message.hover()
    await message.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.locator("#channel-messages > li")).to_have_count(0)


async def test_a_file_goes_along(page: Page, heard: Heard, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("read me")
    await page.locator("#channel-composer input[type=file]").set_input_files(notes)
    await expect(page.locator("#channel-composer .file")).to_contain_text("notes.txt")
    await page.get_by_role("textbox", name="Message").fill("see these")
    await page.keyboard.press("Enter")
    mention = await heard.next("app_mention")
    assert mention["files"][0]["name"] == "notes.txt"
    link = page.locator("#thread-messages a.file")
    await expect(link).to_have_attribute("download", "notes.txt")
    answer = await page.request.get(await link.evaluate("node => node.href"))
    assert await answer.text() == "read me"


async def test_a_mention_completes_by_the_keyboard(page: Page, asked: str, heard: Heard) -> None:
    box = page.get_by_role("textbox", name="Reply in this thread")
    await box.press_sequentially("ask @gr")
    await expect(page.get_by_role("option", name="@grace")).to_be_visible()
    await box.press("Enter")
    await expect(box).to_have_value("ask @grace ")
    await box.press_sequentially("please")
    await box.press("Enter")
    said = await heard.next("message")
    while said["text"] != "ask <@U2> please":
        said = await heard.next("message")
    assert said["thread_ts"] == asked


async def test_one_can_be_grace_and_stays_so(page: Page, heard: Heard) -> None:
    await page.get_by_text("Grace Hopper").click()
    await expect(page.locator("#directs a")).to_have_attribute("href", "#/D2")
    await page.reload()
    await page.get_by_role("textbox", name="Message").fill("hello")
    await page.keyboard.press("Enter")
    assert (await heard.next("app_mention"))["user"] == "U2"


async def test_a_direct_message_needs_no_mention(page: Page, heard: Heard) -> None:
    await page.locator("#directs a").click()
    await expect(page.get_by_role("button", name="Ask @threadmill", exact=True)).to_be_hidden()
    await page.get_by_role("textbox", name="Message").fill("hello there")
    await page.keyboard.press("Enter")
    said = await heard.next("message")
    assert (said["channel"], said["text"]) == ("D1", "hello there")
    await expect(page.locator("#thread-messages")).to_contain_text("hello there")


async def test_only_its_reader_sees_an_ephemeral_message(page: Page, bot: AsyncWebClient) -> None:
    await bot.chat_postEphemeral(channel="C1", user="U1", text="You are over your limit.")
    shown = page.locator("#channel-messages")
    await expect(shown).to_contain_text("only you can see this")
    await page.get_by_text("Grace Hopper").click()
    await expect(shown).not_to_contain_text("over your limit")


async def test_a_draft_stays_where_it_was_begun(page: Page, asked: str) -> None:
    reply = page.get_by_role("textbox", name="Reply in this thread")
    await reply.fill("for this thread")
    await page.get_by_role("link", name="#backend").click()
    message = page.get_by_role("textbox", name="Message")
    await expect(message).to_be_focused()
    await message.fill("for backend")
    await page.get_by_role("link", name="#general").click()
    await expect(message).to_have_value("")
    question = page.locator("#channel-messages > li").first
    await question.hover()
    await question.get_by_role("button", name="Reply in a thread").click()
    await expect(reply).to_have_value("for this thread")


async def test_nothing_can_be_written_before_there_is_a_place_for_it(page: Page, heard: Heard) -> None:
    known = asyncio.Event()

    async def late(route: Route) -> None:
        await known.wait()
        await route.continue_()

    await page.route("**/sim/workspace*", late)
    await page.reload()
    box = page.get_by_role("textbox", name="Message")
    await expect(box).to_be_disabled()
    await expect(page.get_by_role("button", name="Attach files").first).to_be_disabled()
    known.set()
    await box.fill("tidy the imports")
    await page.keyboard.press("Enter")
    assert "tidy the imports" in (await heard.next("app_mention"))["text"]
