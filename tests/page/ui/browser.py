# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium, driven by chromedriver over plain HTTP (the WebDriver protocol). No package but python3."""

import base64
import html.parser
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


# Debian's shell without windows; elsewhere a whole browser does.
BROWSERS = {"chromium-headless-shell": "chrome-headless-shell", "chrome-headless-shell": "chrome-headless-shell",
            "chromium": "chrome", "google-chrome": "chrome"}


def program(*names):
    """The first of the programs that is there: its path."""
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise RuntimeError(f"there is no program '{names[0]}': etc/packages.sh tests installs it on Debian")


class Text(html.parser.HTMLParser):
    """Collects text."""

    def __init__(self):
        super().__init__()
        self.parts = []

    def handle_data(self, data):
        self.parts.append(data)


class Browser:
    """One window. dark: the reader's preference; scripts: whether JavaScript runs."""

    def __init__(self, width=1280, height=900, dark=False, scripts=True, arguments=()):
        self.profile = tempfile.mkdtemp(prefix="blxrep-browser.")
        self.driver = subprocess.Popen([program("chromedriver"), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                       env={**os.environ, "HOME": self.profile, "TMPDIR": self.profile})
        self.session = None
        for line in self.driver.stdout:
            started = re.search(r"successfully on port (\d+)", line)
            if started:
                self.port = int(started[1])
                break
        else:
            raise RuntimeError("chromedriver did not start")
        binary = program(*BROWSERS)
        kind = BROWSERS[os.path.basename(binary)]
        options = {"binary": binary,
                   "args": [*(["--headless"] if kind == "chrome" else []), "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
                            "--disable-background-networking", f"--user-data-dir={self.profile}/profile", *arguments]}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": kind, "goog:chromeOptions": options, "timeouts": {"script": 20000, "pageLoad": 30000},
                                                   "goog:loggingPrefs": {"browser": "ALL"}}}}
        try:
            self.session = self._call("POST", "/session", wanted)["sessionId"]
        except BaseException:
            self.close()
            raise
        self.look(width, height, dark)
        if not scripts:
            self.devtools("Emulation.setScriptExecutionDisabled", value=True)

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise RuntimeError(f"WebDriver, {path}: {value['error']}: {value['message'].splitlines()[0]}") from None

    def _of_session(self, method, path, body=None):
        return self._call(method, f"/session/{self.session}{path}", body)

    def close(self):
        try:
            if self.session:
                self._of_session("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(20)
            self.driver.stdout.close()
            shutil.rmtree(self.profile, ignore_errors=True)

    def devtools(self, name, **words):
        return self._of_session("POST", "/goog/cdp/execute", {"cmd": name, "params": words})

    def look(self, width, height, dark=False, media=""):
        """The window's size in CSS pixels, and what its reader prefers; media="print": as printed."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.devtools("Emulation.setEmulatedMedia", media=media,
                      features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def go(self, address):
        self._of_session("POST", "/url", {"url": address})

    def run(self, script, *words):
        return self._of_session("POST", "/execute/sync", {"script": script, "args": list(words)})

    def wait(self, script, *words, seconds=20, what=None):
        """Until the script returns something true, which is returned."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.run(script, *words)
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what or script}; the page shows: {self.text()[:1500]}")
            time.sleep(0.05)

    def text(self, selector="body"):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def wait_path(self, path, seconds=20):
        """Until the window is at that path; needs no script in the page."""
        deadline = time.monotonic() + seconds
        while urllib.parse.urlsplit(self._of_session("GET", "/url")).path != path:
            if time.monotonic() > deadline:
                raise AssertionError(f"the browser never came to {path}")
            time.sleep(0.05)

    def plain_text(self):
        """The page's text from its markup as it is now, for a browser without scripts."""
        root = self.devtools("DOM.getDocument", depth=0)["root"]["nodeId"]
        reader = Text()
        reader.feed(self.devtools("DOM.getOuterHTML", nodeId=root)["outerHTML"])
        return "".join(reader.parts)

    def click(self, selector):
        found = self._of_session("POST", "/element", {"using": "css selector", "value": selector})
        self._of_session("POST", f"/element/{found[ELEMENT]}/click", {})

    def press(self, *keys):
        """Keys as WebDriver names them: '\\ue004' is Tab."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._of_session("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def problems(self):
        """What the browser complained of since the last call: errors of scripts, of the policy of contents, of the network."""
        return [entry["message"] for entry in self._of_session("POST", "/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]

    def picture(self, path, whole=False):
        words = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
            words["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 8000), "scale": 1}
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.devtools("Page.captureScreenshot", **words)["data"]))
