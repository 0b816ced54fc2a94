"""The page's files are served with the headers that keep strangers' code out, and nothing else is served."""

import re
from pathlib import Path

import aiohttp
import pytest

import services.local.page
from tests.browser.conftest import Door

FOLDER = Path(services.local.page.__file__).parent
FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in {".js", ".css", ".svg"})


async def test_the_page_runs_only_its_own_files(door: Door) -> None:
    async with aiohttp.ClientSession() as client, client.get(door.url) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-cache"
        text = await answer.text()
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=", text)
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', text)) <= {f"/page/{name}" for name in FILES}


async def test_every_file_has_its_type_and_comes_again_only_if_changed(door: Door) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    async with aiohttp.ClientSession() as client:
        for name in FILES:
            async with client.get(f"{door.url}/page/{name}") as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"] == f"{types[Path(name).suffix]}; charset=utf-8"
                assert answer.headers["Cache-Control"] == "no-cache"
                tag = answer.headers["ETag"]
            async with client.get(f"{door.url}/page/{name}", headers={"If-None-Match": tag}) as again:
                assert again.status == 304


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/no-such.js", "/page/__init__.py", "/page/..%2f__init__.py", "/page/%2e%2e/guard.py"],
)
async def test_nothing_else_is_served(door: Door, path: str) -> None:
    async with aiohttp.ClientSession() as client, client.get(door.url + path) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("name", FILES)
def test_no_file_asks_another_host_or_parses_markup(name: str) -> None:
    text = (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
    )
    assert not re.search(r"""["'(]https?://""", text)
