"""A person asks, watches the agent work, answers it, and stops it."""

from typing import Any

from playwright.async_api import Page, expect
from slack_sdk.web.async_client import AsyncWebClient

from tests.browser.conftest import SESSION, Door, Heard

PERMISSION: list[dict[str, Any]] = [
    {"type": "section", "text": {"type": "mrkdwn", "text": "May I run `git push`?"}},
    {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": "allow",
                "value": "q1",
                "style": "primary",
                "text": {"type": "plain_text", "text": "Allow once"},
            },
            {
                "type": "button",
                "action_id": "deny",
                "value": "q1",
                "style": "danger",
                "text": {"type": "plain_text", "text": "Deny"},
                "confirm": {
                    "title": {"type": "plain_text", "text": "Deny this?"},
                    "text": {"type": "plain_text", "text": "The agent goes on without it."},
                    "confirm": {"type": "plain_text", "text": "Yes, deny"},
                    "deny": {"type": "plain_text", "text": "Back"},
                },
            },
        ],
    },
]
FORM = {
    "type": "modal",
    "callback_id": "answer",
    "title": {"type": "plain_text", "text": "Which database?"},
    "submit": {"type": "plain_text", "text": "Answer"},
    "blocks": [
        {
            "type": "input",
            "block_id": "db",
            "label": {"type": "plain_text", "text": "Database"},
            "element": {
                "type": "radio_buttons",
                "action_id": "pick",
                "options": [
                    {"text": {"type": "plain_text", "text": "SQLite"}, "value": "sqlite"},
                    {"text": {"type": "plain_text", "text": "Postgres"}, "value": "postgres"},
                ],
            },
        },
        {
            "type": "input",
            "block_id": "why",
            "label": {"type": "plain_text", "text": "Why"},
            "element": {"type": "plain_text_input", "action_id": "text", "multiline": True},
        },
    ],
}


def task(state: str, **more: str) -> list[dict[str, str]]:
    return [{"type": "task_update", "id": "t1", "title": "Read parser.py", "status": state, **more}]


async def stream(bot: AsyncWebClient, thread: str) -> str:
    started = await bot.chat_startStream(
        channel="C1",
        thread_ts=thread,
        recipient_user_id="U1",
        recipient_team_id="T1",
        chunks=task("in_progress"),
    )
    return str(started["ts"])


async def test_a_new_message_asks_the_bot_and_opens_its_thread(page: Page, heard: Heard) -> None:
    await page.get_by_role("textbox", name="Message").fill("explain <main> & more")
    await page.keyboard.press("Enter")
    mention = await heard.next("app_mention")
    assert mention["text"] == "<@UBOT> explain &lt;main&gt; &amp; more"
    assert mention["user"] == "U1"
    thread = page.locator("#thread-messages")
    await expect(thread).to_contain_text("@threadmill explain <main> & more")
    await expect(page.get_by_role("textbox", name="Reply in this thread")).to_be_focused()


async def test_without_the_toggle_people_talk_among_themselves(page: Page, heard: Heard) -> None:
    await page.get_by_role("button", name="Ask @threadmill", exact=True).click()
    await page.get_by_role("textbox", name="Message").fill("lunch?")
    await page.keyboard.press("Enter")
    said = await heard.next("message")
    assert said["text"] == "lunch?"
    await expect(page.locator("#thread")).to_be_hidden()


async def test_a_stream_appears_live_and_an_opened_card_stays_open(
    page: Page, asked: str, bot: AsyncWebClient
) -> None:
    ts = await stream(bot, asked)
    message = page.locator(f'#thread-messages > [data-key="{ts}"]')
    card = message.locator(".task")
    await expect(card).to_have_attribute("data-state", "in_progress")
    await bot.chat_appendStream(
        channel="C1", ts=ts, chunks=task("complete", details="sed -n 1,80p parser.py", output="80 lines")
    )
    await expect(card).to_have_attribute("data-state", "complete")
    await card.locator("summary").click()
    await expect(card).to_contain_text("80 lines")
    await bot.chat_appendStream(
        channel="C1", ts=ts, chunks=[{"type": "markdown_text", "text": "The **parser** drops\n\n"}]
    )
    await expect(message.locator("strong", has_text="parser")).to_be_visible()
    first = await message.locator(".markdown p").first.element_handle()
    await bot.chat_stopStream(
        channel="C1", ts=ts, chunks=[{"type": "markdown_text", "text": "- the tail\n- nothing else"}]
    )
    await expect(message.locator("li")).to_have_count(2)
    await expect(message).to_have_attribute("data-streaming", "completed")
    await expect(card.locator("details")).to_have_attribute("open", "")
    assert await first.evaluate("node => node.isConnected"), "text that stood already must not be drawn anew"
    await expect(page.locator("#spoken")).to_contain_text("Threadmill answered")


async def test_a_button_shows_its_progress_and_calls_back(
    page: Page, asked: str, bot: AsyncWebClient, heard: Heard
) -> None:
    posted = await bot.chat_postMessage(channel="C1", thread_ts=asked, text="May I?", blocks=PERMISSION)
    button = page.get_by_role("button", name="Allow once")
    await button.click()
    await expect(button).to_have_attribute("aria-busy", "true")
    await expect(page.get_by_role("button", name="Deny")).to_be_disabled()
    pressed = await heard.next("block_actions")
    assert pressed["user"]["id"] == "U1"
    assert [(one["action_id"], one["value"]) for one in pressed["actions"]] == [("allow", "q1")]
    answered = [{"type": "context", "elements": [{"type": "mrkdwn", "text": "Ada allowed it."}]}]
    await bot.chat_update(channel="C1", ts=posted["ts"], text="Ada allowed it.", blocks=answered)
    await expect(button).to_have_count(0)
    await expect(page.locator("#thread-messages")).to_contain_text("Ada allowed it.")


async def test_a_dangerous_button_asks_first(
    page: Page, asked: str, bot: AsyncWebClient, heard: Heard
) -> None:
    await bot.chat_postMessage(channel="C1", thread_ts=asked, text="May I?", blocks=PERMISSION)
    await page.get_by_role("button", name="Deny").click()
    await page.get_by_role("button", name="Back").click()
    await page.get_by_role("button", name="Deny").click()
    await page.get_by_role("button", name="Yes, deny").click()
    pressed = await heard.next("block_actions")
    assert pressed["actions"][0]["action_id"] == "deny"


async def test_a_question_opens_a_form_and_its_entries_arrive(
    page: Page, asked: str, bot: AsyncWebClient, heard: Heard
) -> None:
    await bot.chat_postMessage(channel="C1", thread_ts=asked, text="Question", blocks=PERMISSION)
    await page.get_by_role("button", name="Allow once").click()
    pressed = await heard.next("block_actions")
    await bot.views_open(trigger_id=pressed["trigger_id"], view=FORM)
    form = page.get_by_role("dialog", name="Which database?")
    await form.get_by_label("Postgres").check()
    await form.get_by_label("Why").fill("it is there already")
    await form.get_by_role("button", name="Answer").click()
    submitted = await heard.next("view_submission")
    values = submitted["view"]["state"]["values"]
    assert values["db"]["pick"]["selected_option"]["value"] == "postgres"
    assert values["why"]["text"]["value"] == "it is there already"
    await expect(form).to_have_count(0)


async def test_the_head_tells_state_cost_and_branch(
    page: Page, asked: str, bot: AsyncWebClient, door: Door
) -> None:
    door.session = SESSION
    await bot.api_call(
        "agents.sessions.setStatus", json={"channel_id": "C1", "thread_ts": asked, "status": "suspended"}
    )
    head = page.locator("#session")
    await expect(head).to_contain_text("Waiting for you")
    await expect(head).to_contain_text("threadmill/csv-tail")
    await expect(head).to_contain_text("acme/importer")
    await expect(head).to_contain_text("$0.18")
    await expect(page).to_have_title("Waiting for you · Threadmill")
    await bot.api_call(
        "agents.sessions.setStatus", json={"channel_id": "C1", "thread_ts": asked, "status": "active"}
    )
    await expect(head).to_contain_text("Idle")
    await expect(page.get_by_role("button", name="Stop")).to_be_hidden()


async def test_stop_reaches_the_bot_and_the_stream_is_over(
    page: Page, asked: str, bot: AsyncWebClient, heard: Heard
) -> None:
    ts = await stream(bot, asked)
    await page.get_by_role("button", name="Stop").click()
    stopped = await heard.next("agent_session_stopped")
    assert asked in str(stopped)
    await expect(page.locator(f'#thread-messages > [data-key="{ts}"]')).to_have_attribute(
        "data-streaming", "completed"
    )


async def test_a_card_of_a_stream_that_was_stopped_runs_no_more(
    page: Page, asked: str, bot: AsyncWebClient, heard: Heard
) -> None:
    ts = await stream(bot, asked)
    chunk = {"type": "task_update", "id": "t9", "title": "sleep 30", "status": "in_progress"}
    await bot.api_call("chat.appendStream", json={"channel": "C1", "ts": ts, "chunks": [chunk]})
    card = page.locator('[data-key="task:t9"]')
    await expect(card).to_have_attribute("data-state", "in_progress")
    await page.get_by_role("button", name="Stop").click()
    await expect(card).to_have_attribute("data-state", "stopped")


async def test_whoever_replies_sees_the_reply(page: Page, asked: str, bot: AsyncWebClient) -> None:
    await bot.chat_postMessage(channel="C1", thread_ts=asked, text="line\n" * 100)
    await expect(page.locator("#thread-messages")).to_contain_text("line")
    await page.locator("#thread-messages").evaluate("list => { list.scrollTop = 0; }")
    await page.get_by_role("textbox", name="Reply in this thread").fill("mine")
    await page.keyboard.press("Enter")
    await expect(page.locator("#thread-messages > li").last).to_be_in_viewport()


async def test_escape_twice_stops_while_one_does_not(
    page: Page, asked: str, bot: AsyncWebClient, heard: Heard
) -> None:
    await stream(bot, asked)
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#stop-label")).to_have_text("Stop")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    assert asked in str(await heard.next("agent_session_stopped"))


async def test_the_status_line_shows_what_the_agent_does(page: Page, asked: str, bot: AsyncWebClient) -> None:
    await bot.assistant_threads_setStatus(channel_id="C1", thread_ts=asked, status="is thinking...")
    await expect(page.locator("#status")).to_have_text("Threadmill is thinking")
    await bot.chat_postMessage(channel="C1", thread_ts=asked, text="Done.")
    await expect(page.locator("#status")).to_have_text("")
