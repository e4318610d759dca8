"""A headless Chromium that is driven through a pipe by the DevTools protocol, with the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
#: Seconds until an answer must be there.
PATIENCE = 60


class Browser:
    """One page in a browser. What the page says on its console is kept in ``said``."""

    def __init__(self, profile: Path) -> None:
        self.said: list[str] = []
        self._loaded = False
        self._count = 0
        self._rest = b""
        theirs, self._to = os.pipe()
        self._from, ours = os.pipe()
        command = [
            str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
            "--disable-dev-shm-usage", "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        quiet = os.open(os.devnull, os.O_WRONLY)
        # The browser reads orders from descriptor 3 and answers on 4, which may be among ours: go by way of others.
        moves = [(os.POSIX_SPAWN_DUP2, theirs, 103), (os.POSIX_SPAWN_DUP2, ours, 104)]
        moves += [(os.POSIX_SPAWN_DUP2, 103, 3), (os.POSIX_SPAWN_DUP2, 104, 4), (os.POSIX_SPAWN_DUP2, quiet, 2)]
        self._pid = os.posix_spawn(command[0], command, os.environ, file_actions=moves)
        for descriptor in (theirs, ours, quiet):
            os.close(descriptor)
        self._session: str | None = None
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._session = None
        self.call("Browser.close")
        os.waitpid(self._pid, 0)
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while (answer := self._receive()).get("id") != self._count:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        """Return the next message, after noting the events in it."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0, end - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("The browser does not answer.")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if message.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.said.append(json.dumps(message["params"]))
        self._loaded |= message.get("method") == "Page.loadEventFired"
        return message

    def open(self, page: Path, width: int = 1280, height: int = 900) -> None:
        """Load a file in a window of that size, and wait until it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 640
        )
        self._loaded = False
        self.call("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._receive()

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def middle(self, selector: str) -> tuple[float, float]:
        """Return where the middle of something lies, after scrolling it into view."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{element}.scrollIntoView({{block: 'center'}})")
        left, top, width, height = self.run(
            f"(box => [box.left, box.top, box.width, box.height])({element}.getBoundingClientRect())"
        )
        return left + width / 2, top + height / 2

    def _mouse(self, kind: str, place: tuple[float, float]) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", buttons=1, clickCount=1)

    def click(self, selector: str) -> None:
        """Click the middle of something."""
        place = self.middle(selector)
        self._mouse("mousePressed", place)
        self._mouse("mouseReleased", place)

    def drag(self, selector: str, by: tuple[float, float]) -> None:
        """Drag something by so many pixels to the right and down."""
        x, y = self.middle(selector)
        self._mouse("mousePressed", (x, y))
        for share in (0.5, 1):
            self._mouse("mouseMoved", (x + share * by[0], y + share * by[1]))
        self._mouse("mouseReleased", (x + by[0], y + by[1]))

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path: Path) -> None:
        """Save a picture of the whole page."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))
