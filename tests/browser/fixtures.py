"""The app as a user meets it: a server, and Debian's chromium driven by Playwright.

Not a conftest.py: of two modules of that name, `from conftest import …` in the other tests would find the wrong one.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from people import CHROMIUM, DESKTOP, QUICK, SLOW, Server, User, start
from playwright.sync_api import Browser, sync_playwright

from restorelcc.artifacts.findings import Recipe
from restorelcc.progress import finish
from restorelcc.workspace import Workspace, open_workspace

_RUNNING = ExitStack()
"""What modules share, until the tests of this process are over: a server takes its time to start, and then to open its
first pair."""


@cache
def _shared() -> Server:
    folder = Path(_RUNNING.enter_context(TemporaryDirectory()))
    return _RUNNING.enter_context(start(folder / "cache", folder / "data", folder / "server.log"))


@cache
def _chromium() -> Browser:
    chromium = shutil.which("chromium")
    assert chromium, "The browser tests need chromium: apt-get install chromium"
    playwright = _RUNNING.enter_context(sync_playwright())
    return playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)


@cache
def _restored() -> str:
    someone = User(_chromium(), _shared(), DESKTOP)
    page = someone.open(f"restore?picks=2.3_0&{QUICK}", wait=".st-key-start-restoration button:enabled")
    page.locator(".st-key-setting-steps input").fill("2")
    page.locator(".st-key-setting-steps input").press("Enter")
    someone.settle()
    page.locator(".st-key-start-restoration button").click()
    page.locator(".st-key-norms .js-plotly-plot").wait_for(timeout=SLOW)
    someone.settle()
    link = page.url.rpartition("/")[2]
    someone.context.close()
    return link


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Server:
    """Whose embedded pair somebody may have opened already, and restored."""
    request.session.addfinalizer(_RUNNING.close)
    return _shared()


@pytest.fixture(scope="module", name="server")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of the module's own, with an empty cache."""
    cache, data = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("data")
    with start(cache, data, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Browser:
    request.session.addfinalizer(_RUNNING.close)
    return _chromium()


@pytest.fixture(scope="module")
def run(server: Server, browser: Browser) -> str:
    """A link to a restoration of the shared server, of one component of L2 H3: no page is without what it is for."""
    return _restored()


@pytest.fixture
def people(browser: Browser, server: Server) -> Iterator[list[User]]:
    """Whoever a test brings in; all leave at its end."""
    came: list[User] = []
    yield came
    for user in came:
        assert user.page.locator("[data-testid=stException]").count() == 0
        user.context.close()


@pytest.fixture
def user(people: list[User], browser: Browser, server: Server) -> User:
    """Somebody at a desk."""
    people.append(User(browser, server, DESKTOP))
    return people[-1]


@pytest.fixture(scope="module")
def engine(server: Server, browser: Browser) -> Workspace:
    """The same pair, opened without the app, from what the app left in its cache: for numbers to compare with."""
    first = User(browser, server, DESKTOP)
    first.open("")
    first.context.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(server.cache))
        workspace = finish(open_workspace(Recipe()))
        workspace.pair()
    return workspace
