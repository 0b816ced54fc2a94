"""What agents and people write is drawn as it was meant, and never becomes markup."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.async_api import Browser, Page, expect
from slack_sdk.web.async_client import AsyncWebClient

from tests.browser.conftest import Door

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>document.title='taken'</script>",
    "[go](javascript:alert(1))",
    "[go](JaVaScRiPt:alert(1)) [data](data:text/html,x) <javascript:alert(1)>",
    '[a" onmouseover="alert(1)](https://example.com/" onclick="alert(1))',
    "```\n</code></pre><svg onload=alert(1)>\n```",
    "| <b>x</b> | y |\n|---|---|\n| <iframe src=//evil> | `</td>` |",
    "<https://example.com|<b>label</b>> <javascript:alert(1)|go> <@U1|<i>x</i>>",
]
MARKDOWN = """# One
A *soft*, **strong**, ~~gone~~ and `code` line with snake_case_name and 2 * 3 * 4.

1. first
2. second
   - inner
- [x] done

> quoted

```python
def f():
    return "<b>"
```

| Case | N |
|---|---:|
| a | 1 |

See [docs](https://example.com/a_(b)) and https://example.com/x, mail <mailto:a@example.com>.
"""
# In one call for the whole document: every element and attribute that a drawing made.
SURVEY = """node => [...node.querySelectorAll('*')].map(one =>
  [one.localName, one.getAttributeNames(), one.getAttribute('href')])"""
TAGS = {
    *(
        "p",
        "br",
        "em",
        "strong",
        "s",
        "code",
        "pre",
        "a",
        "span",
        "ul",
        "ol",
        "li",
        "blockquote",
        "hr",
        "div",
    ),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "button", "svg", "path"),
}


def assert_harmless(survey: list[tuple[str, list[str], str | None]]) -> None:
    for tag, attributes, href in survey:
        assert tag in TAGS
        assert not [
            name for name in attributes if name.startswith("on") or name in {"style", "src", "srcdoc"}
        ]
        assert href is None or href.startswith(("http://", "https://", "mailto:"))


DRAW = f"""async texts => {{
    const {{ renderMarkdown }} = await import("/page/markdown.js");
    const {{ renderMrkdwn }} = await import("/page/mrkdwn.js");
    const found = new Map();
    let slowest = 0;
    for (const draw of [renderMarkdown, renderMrkdwn]) for (const text of texts) {{
        const node = document.createElement("div");
        const began = performance.now();
        draw(node, text);
        slowest = Math.max(slowest, performance.now() - began);
        for (const one of ({SURVEY})(node)) found.set(JSON.stringify(one), one);
    }}
    return {{ found: [...found.values()], slowest }};
}}"""


async def test_hostile_text_stays_text(page: Page, bot: AsyncWebClient) -> None:
    blocks: list[dict[str, object]] = []
    for text in HOSTILE:
        blocks += [
            {"type": "markdown", "text": text},
            {"type": "section", "text": {"type": "mrkdwn", "text": text}},
            {"type": "section", "text": {"type": "plain_text", "text": text}},
            {"type": "header", "text": {"type": "plain_text", "text": text[:100]}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]},
        ]
    posted = await bot.chat_postMessage(channel="C1", text="hostile", blocks=blocks)
    content = page.locator(f'#channel-messages > [data-key="{posted["ts"]}"] .content')
    await expect(content.locator(".header")).to_have_text([text[:100] for text in HOSTILE])
    assert_harmless(await content.evaluate(SURVEY))
    await expect(page).to_have_title("Threadmill")


async def test_any_text_is_drawn_without_harm_and_in_time(browser: Browser, door: Door) -> None:
    """Strings made of the marks themselves, thousands at a time, through both dialects."""
    page = await browser.new_page()
    await page.goto(f"{door.url}/")
    mark = st.sampled_from(
        ["*", "**", "_", "~~", "`", "```", "\n", "\n\n", " ", "a", "[", "](", ")", "<", ">", "|", "-|-", "- ", "1. ",
         "> ", "# ", "\\", "https://e.x/", "javascript:", "<@U1>", "&lt;", "<script>", "onload=", "\u202e", "é"]
    )  # fmt: skip
    strings: list[str] = []

    @settings(
        max_examples=300,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(st.lists(mark, max_size=60).map("".join))
    def collect(text: str) -> None:
        strings.append(text)

    collect()
    marks = (
        "*a ",
        "**a",
        "[",
        "[a](",
        "`",
        "> ",
        "- ",
        "<",
        "|",
        "_",
        " ",
        "~",
        "(",
        "&",
        "```\n",
        "1. a\n",
        "\n",
    )
    answer = await page.evaluate(DRAW, [*strings, *(mark * 20_000 for mark in marks)])
    assert_harmless(answer["found"])
    assert answer["slowest"] < 5000, "no text may freeze the page"
    await page.close()


async def test_markdown_is_drawn_as_it_reads(page: Page, bot: AsyncWebClient) -> None:
    posted = await bot.chat_postMessage(
        channel="C1", text="x", blocks=[{"type": "markdown", "text": MARKDOWN}]
    )
    content = page.locator(f'#channel-messages > [data-key="{posted["ts"]}"] .content')
    await expect(content.locator("h3")).to_have_text("One")
    await expect(content.locator("em")).to_have_text("soft")
    await expect(content.locator("s")).to_have_text("gone")
    await expect(content).to_contain_text("snake_case_name and 2 * 3 * 4.")
    await expect(content.locator("ol > li")).to_have_count(2)
    await expect(content.locator("ol > li ul > li")).to_have_text("inner")
    await expect(content.locator("li.done")).to_have_text("done")
    await expect(content.locator("blockquote")).to_have_text("quoted")
    await expect(content.locator("pre")).to_have_text('def f():\n    return "<b>"')
    await expect(content.locator("td").nth(1)).to_have_class("right")
    hrefs = await content.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert hrefs == ["https://example.com/a_(b)", "https://example.com/x", "mailto:a@example.com"]


async def test_slacks_own_marks_are_drawn(page: Page, bot: AsyncWebClient) -> None:
    text = (
        "*bold* _soft_ ~gone~ `a &amp; b` <https://example.com|label> <@U1> <#C2> <!here> 1 &lt; 2\n"
        "&gt; quoted\n```x = {}```"
    )
    posted = await bot.chat_postMessage(channel="C1", text=text)
    content = page.locator(f'#channel-messages > [data-key="{posted["ts"]}"] .content')
    await expect(content.locator("strong")).to_have_text("bold")
    await expect(content.locator("p > code")).to_have_text("a & b")
    await expect(content.locator("a")).to_have_text("label")
    await expect(content.locator(".mention")).to_have_text(["@Ada Lovelace", "#backend", "@here"])
    await expect(content).to_contain_text("1 < 2")
    await expect(content.locator("blockquote")).to_have_text("quoted")
    await expect(content.locator("pre")).to_have_text("x = {}")


async def test_every_block_has_a_form(page: Page, bot: AsyncWebClient) -> None:
    def cell(text: str) -> dict[str, str]:
        return {"type": "raw_text", "text": text}

    link = {"type": "plain_text", "text": "Compare"}
    blocks = [
        {
            "type": "section",
            "fields": [{"type": "mrkdwn", "text": "*Cost*"}, {"type": "mrkdwn", "text": "$1"}],
        },
        {"type": "divider"},
        {"type": "table", "rows": [[cell("Name"), cell("N")], [cell("a"), cell("1")]]},
        {"type": "actions", "elements": [{"type": "button", "text": link, "url": "https://example.com/c"}]},
        {"type": "image", "image_url": "https://example.com/a.png", "alt_text": "A graph"},
        {
            "type": "rich_text",
            "elements": [
                {
                    "type": "rich_text_section",
                    "elements": [{"type": "text", "text": "rich", "style": {"bold": True}}],
                }
            ],
        },
    ]
    posted = await bot.api_call("chat.postMessage", json={"channel": "C1", "text": "x", "blocks": blocks})
    content = page.locator(f'#channel-messages > [data-key="{posted["ts"]}"] .content')
    await expect(content.locator(".fields strong")).to_have_text("Cost")
    await expect(content.locator("hr")).to_have_count(1)
    await expect(content.locator("td")).to_have_text(["a", "1"])
    await expect(content.get_by_role("link", name="Compare")).to_have_attribute(
        "href", "https://example.com/c"
    )
    await expect(content.get_by_role("link", name="A graph")).to_be_visible()
    await expect(content.locator(".rich_text strong")).to_have_text("rich")
    assert await content.locator("img").count() == 0, json.dumps(blocks)


async def test_a_plan_counts_its_tasks(page: Page, bot: AsyncWebClient) -> None:
    chunks = [
        {"type": "plan_update", "title": "Mend the import"},
        {"type": "task_update", "id": "1", "title": "Look", "status": "complete"},
        {"type": "task_update", "id": "2", "title": "Mend", "status": "pending"},
    ]
    root = await bot.chat_postMessage(channel="C1", text="root")
    await bot.chat_startStream(
        channel="C1",
        thread_ts=root["ts"],
        recipient_user_id="U1",
        recipient_team_id="T1",
        task_display_mode="plan",
        chunks=chunks,
    )
    await page.get_by_role("button", name="1 reply").click()
    plan = page.locator("#thread-messages .plan")
    await expect(plan.locator("h4")).to_have_text("Mend the import 1 of 2")
    await expect(plan.locator(".task .title")).to_have_text(["Look", "Mend"])


async def test_a_long_run_of_steps_is_folded_but_no_failure_and_no_open_card(
    page: Page, asked: str, bot: AsyncWebClient
) -> None:
    def step(number: int, status: str = "complete") -> dict[str, str]:
        return {
            "type": "task_update",
            "id": f"t{number}",
            "title": f"Step {number}",
            "status": status,
            "output": "done",
        }

    started = await bot.chat_startStream(
        channel="C1", thread_ts=asked, recipient_user_id="U1", recipient_team_id="T1", chunks=[step(0)]
    )
    titles = page.locator("#thread-messages .task .title")
    await titles.first.click()
    chunks = [step(number, "error" if number == 2 else "complete") for number in range(1, 12)]
    await bot.chat_appendStream(channel="C1", ts=started["ts"], chunks=chunks)
    shown = ["Step 0", "Step 2", *(f"Step {number}" for number in range(7, 12))]
    await expect(titles).to_have_text(shown)
    await page.get_by_role("button", name="Show 5 earlier steps").click()
    await expect(titles).to_have_text([f"Step {number}" for number in range(12)])


async def test_a_block_of_an_odd_shape_costs_no_more_than_its_message(
    page: Page, bot: AsyncWebClient
) -> None:
    """Slack may send tomorrow what nobody knows today; its refusals are the simulator's business, not the page's."""
    odd: list[object] = [
        {"type": "section"},
        {"type": "of_tomorrow"},
        {"type": "context", "elements": None},
        {"type": "task_card"},
        {"type": "plan", "title": "p"},
        {"type": "rich_text", "elements": [{"type": "new", "elements": [{"type": "new"}]}]},
        {"type": "table", "rows": [None]},
        {"type": "actions", "elements": [{}, {"type": "button"}]},
        None,
    ]
    script = """async odd => {
        const { createMessage, updateMessage } = await import("/page/message.js");
        return odd.map(block => {
            const node = createMessage();
            updateMessage(node, { ts: "1.1", user: "UBOT", bot_id: "B1", text: "words", blocks: [block] }, { channel: "C1" });
            return node.querySelector(".head").textContent.includes("Threadmill");
        });
    }"""
    await expect(page.locator("#channels a").first).to_be_visible()
    assert await page.evaluate(script, odd) == [True] * len(odd)
