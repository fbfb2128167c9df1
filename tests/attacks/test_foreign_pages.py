"""Web pages of other origins against Dagster's web application, in a real browser, with the guard and without."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import chromium
from playwright.sync_api import Browser, Page
from served import Served, guard, listening, opened, wait_for
from starlette.types import Receive, Scope, Send

pytestmark = [pytest.mark.slow, pytest.mark.browser]

FILE = Path(__file__).parents[1] / "data" / "foreign_page.html"
GETS = {"img", "script", "link", "get", "cors-get"}
POSTS = {"form", "text-form", "multipart-form", "no-cors", "beacon", "report"}
"""What reaches Dagster when nothing stands before it; a cross-origin POST of JSON is stopped by the browser itself."""
PAGES = ("http://evil.example:{port}/", "http://localhost:{port}/", "http://127.0.0.1:{port}/", FILE.as_uri())
"""A page of another site, of another name of this machine, of another port of the same site, and a file on disk."""
SLOW_MS = 60_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with opened(tmp_path_factory.mktemp("dagster")) as served:
        yield served


@pytest.fixture(scope="module")
def guarded(served: Served) -> Iterator[int]:
    with listening(guard(served.app)) as port:
        yield port


@pytest.fixture(scope="module")
def unguarded(served: Served) -> Iterator[int]:
    with listening(served.app) as port:
        yield port


@pytest.fixture(scope="module")
def attacker() -> Iterator[int]:
    async def page(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [(b"content-type", b"text/html; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": FILE.read_bytes()})

    with listening(page) as port:
        yield port


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium("--host-resolver-rules=MAP *.example 127.0.0.1") as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    yield page
    context.close()


def attack(page: Page, address: str, target: int) -> tuple[bool, bool]:
    """Let the foreign page try everything: whether it got a websocket, and whether it got a frame."""
    page.goto(f"{address}?target={quote(f'http://127.0.0.1:{target}', safe='')}")
    page.wait_for_function("document.title == 'done'")
    frame = page.frame("framed")
    assert frame is not None
    return page.evaluate("window.opened === true"), frame.url.startswith("http")


@pytest.mark.parametrize("address", PAGES)
def test_a_foreign_page_changes_nothing_reads_nothing_and_frames_nothing(page, served, guarded, attacker, address):
    assert attack(page, address.format(port=attacker), guarded) == (False, False)
    page.goto("about:blank")  # beacons go out when their page is left, at the latest
    page.goto(f"http://127.0.0.1:{guarded}/server_info")
    assert served.changes() == set()


def test_without_the_guard_the_same_page_does_all_of_that(page, served, unguarded, attacker):
    seen: set[str] = set()
    assert attack(page, f"http://evil.example:{attacker}/", unguarded) == (True, True)
    wait_for(lambda: seen.update(served.changes()) or seen >= GETS | POSTS)
    assert seen == GETS | POSTS


@pytest.mark.parametrize("address", PAGES)
def test_a_link_on_a_foreign_page_opens_the_interface(page, guarded, attacker, address):
    page.goto(f"{address.format(port=attacker)}?target=http%3A%2F%2F127.0.0.1%3A1")
    page.evaluate(f"document.body.innerHTML = '<a href=\"http://127.0.0.1:{guarded}/runs\">run</a>'")
    page.get_by_text("run").click()
    page.wait_for_url(f"http://127.0.0.1:{guarded}/runs**")
    page.get_by_text("Runs").first.wait_for()


def test_a_window_that_a_foreign_page_opens_shows_the_interface(page, guarded, attacker):
    page.goto(f"http://evil.example:{attacker}/?target=http%3A%2F%2F127.0.0.1%3A1")
    with page.expect_popup() as opening:
        page.evaluate(f"window.open('http://127.0.0.1:{guarded}/runs')")
    opening.value.get_by_text("Runs").first.wait_for()


def test_a_link_to_a_query_opens_nothing(page, guarded, attacker):
    page.goto(f"http://evil.example:{attacker}/?target=http%3A%2F%2F127.0.0.1%3A1")
    page.evaluate(f"location.href = 'http://127.0.0.1:{guarded}/graphql?query=%7Bversion%7D'")
    page.get_by_text("ELEXIRION_HOSTS").wait_for()


SEND = """async (query) => {
  const headers = {"content-type": "application/json"};
  const answer = await fetch("/graphql", {method: "POST", headers, body: JSON.stringify({query})});
  return answer.status;
}"""
SOCKET = """new Promise((done) => {
  const socket = new WebSocket(`ws://${location.host}/graphql`, "graphql-ws");
  Object.assign(socket, {onopen: () => done("open"), onerror: () => done("refused")});
})"""
LIMIT = 'mutation { setConcurrencyLimit(concurrencyKey: "rebound", limit: 1) }'


def test_a_name_that_was_pointed_at_this_machine_gets_no_answer(page, served, guarded):
    answer = page.goto(f"http://evil.example:{guarded}/")
    assert answer.status == 421
    assert "ELEXIRION_HOSTS" in page.inner_text("body")
    assert page.evaluate(SEND, LIMIT) == 421
    assert served.changes() == set()


def test_without_the_guard_such_a_name_is_as_good_as_localhost(page, served, unguarded):
    assert page.goto(f"http://evil.example:{unguarded}/").status == 200
    assert page.evaluate(SEND, LIMIT) == 200
    assert served.changes() == {"rebound"}


def test_a_name_that_was_set_is_answered(page, served):
    with listening(guard(served.app, hosts=["mine.example"])) as port:
        assert page.goto(f"http://mine.example:{port}/").status == 200
        assert page.evaluate(SEND, LIMIT) == 200
        assert page.evaluate(SOCKET) == "open"
    assert served.changes() == {"rebound"}
