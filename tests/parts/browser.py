"""A real Chromium for tests, without a screen, spoken to by WebDriver; and axe-core, which checks accessibility."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import httpx

from tests.parts import program_path, require
from tests.parts.with_parent import with_parent

AXE = Path(__file__).parents[2] / ".cache/axe-core/axe.min.js"
Theme = Literal["light", "dark"]

_STARTED = re.compile(rb"successfully on port (\d+)")
_SECONDS = 60.0
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a bare Debian has no /dev/shm
    "--no-first-run",
    "--disable-extensions",
)


class Browser:
    """A running Chromium, as a context manager: one page at a time."""

    def __init__(self) -> None:
        self._chromium = program_path("chromium")
        self._driver = program_path("chromedriver")

    def __enter__(self) -> Browser:
        self._process = subprocess.Popen(
            with_parent([self._driver, "--port=0"]), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            self._client = httpx.Client(
                base_url=f"http://127.0.0.1:{self._port()}", timeout=_SECONDS, trust_env=False
            )
            options = {"binary": self._chromium, "args": list(_OPTIONS)}
            wanted = {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            answer = self._client.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
            self._session = f"/session/{_value(answer)['sessionId']}"
            # axe-core takes its time where the machine has other work.
            self._post("/timeouts", script=int(_SECONDS * 1000))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self._client.delete(self._session)
        finally:
            self._client.close()
            self._stop()

    def _port(self) -> int:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := _STARTED.search(line):
                return int(found[1])
        raise RuntimeError("chromedriver ended before it listened")

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def open(self, page: Path | str, theme: Theme, width: int, *, script: bool = True) -> None:
        """Open a file or a URL in a window of this width, for a reader who prefers this theme.

        Earlier logs are forgotten. script: False for a reader whose browser runs none.
        """
        self._chrome("Emulation.setScriptExecutionDisabled", value=not script)
        self._chrome(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}]
        )
        self._chrome(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self._log("browser")
        self._log("performance")
        self._post("/url", url=page if isinstance(page, str) else page.as_uri())

    def console(self) -> list[str]:
        """What the page, and the browser about it, said since the last call."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """URL of everything that was asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def run(self, script: str, *arguments: object) -> Any:
        """Run a function's body in the page, and return what it returns."""
        return self._post("/execute/sync", script=script, args=list(arguments))

    def run_until(self, condition: str, *arguments: object) -> None:
        """Wait until an expression, over `args`, is true in the page. It is looked at whenever the page changes."""
        waiting = (
            "const done = arguments[arguments.length - 1]; const given = [...arguments].slice(0, -1);"
            f"const so = () => {{ const args = given; return {condition}; }};"
            "if (so()) return done(true);"
            "const look = () => { if (so()) { watching.disconnect(); clearInterval(again); done(true); } };"
            "const watching = new MutationObserver(look);"
            "watching.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});"
            "const again = setInterval(look, 50);"
        )
        self._post("/execute/async", script=waiting, args=list(arguments))

    def press(self, key: str, times: int = 1) -> None:
        """Press a key of the keyboard."""
        strokes = [{"type": kind, "value": key} for _ in range(times) for kind in ("keyDown", "keyUp")]
        self._post("/actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def source(self) -> str:
        """The page as the browser has it now."""
        text: str = _value(self._client.get(f"{self._session}/source"))
        return text

    def picture(self, *, height: int) -> bytes:
        """A picture of the page's upper part, as PNG."""
        width = self.run("return document.documentElement.clientWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        found = self._chrome("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def accessible_names(self, selector: str) -> list[str]:
        """Names by which readers of a screen hear these elements, as the browser computes them."""
        found = self._post("/elements", using="css selector", value=selector)
        ids: list[str] = [next(iter(element.values())) for element in found]
        return [_value(self._client.get(f"{self._session}/element/{ident}/computedlabel")) for ident in ids]

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page: rule, help and the first element of each."""
        require("axe-core", AXE.is_file(), "tests/parts/install")
        script = (
            f"{AXE.read_text(encoding='utf-8')}\n"
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']})"
            ".then(found => done(found.violations), fault => done(String(fault)));"
        )
        found: Sequence[dict[str, Any]] | str = self._post("/execute/async", script=script, args=[])
        if isinstance(found, str):
            raise TypeError(f"axe-core: {found}")
        words = []
        for item in found:
            first = item["nodes"][0]
            words.append(f"{item['id']}: {item['help']}: {first['html'][:200]} {first['failureSummary']}")
        return words

    def _chrome(self, command: str, **parameters: object) -> Any:
        return self._post("/goog/cdp/execute", cmd=command, params=parameters)

    def _log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._post("/se/log", type=kind)
        return entries

    def _post(self, path: str, **body: object) -> Any:
        return _value(self._client.post(self._session + path, json=body))


def _value(answer: httpx.Response) -> Any:
    value = answer.json()["value"]
    if answer.is_error:
        raise RuntimeError(f"WebDriver: {value['error']}: {value['message']}")
    return value
