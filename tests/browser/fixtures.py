"""The app as a user meets it: a server, and Debian's chromium driven by Playwright.

Not a conftest.py: of two modules of that name, `from conftest import …` in the other tests would find the wrong one.
"""

import atexit
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from people import DESKTOP, Server, User, start
from playwright.sync_api import Browser, sync_playwright

from restorelcc.artifacts.findings import Recipe
from restorelcc.progress import finish
from restorelcc.workspace import Workspace, open_workspace

_RUNNING = ExitStack()
"""What modules share, until the tests are over: a server takes its time to start, and then to open its first pair."""
atexit.register(_RUNNING.close)


@cache
def _shared() -> Server:
    folder = Path(_RUNNING.enter_context(TemporaryDirectory()))
    return _RUNNING.enter_context(start(folder / "cache", folder / "data", folder / "server.log"))


@cache
def _chromium() -> Browser:
    chromium = shutil.which("chromium")
    assert chromium, "The browser tests need chromium: apt-get install chromium"
    playwright = _RUNNING.enter_context(sync_playwright())
    return playwright.chromium.launch(
        executable_path=chromium, args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    )


@pytest.fixture(scope="module")
def server() -> Server:
    """Whose embedded pair somebody may have opened already, and restored."""
    return _shared()


@pytest.fixture(scope="module", name="server")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of the module's own, with an empty cache."""
    cache, data = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("data")
    with start(cache, data, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Browser:
    return _chromium()


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
