"""Loads the status page in headless Chromium, waits until it shows data, and prints what it shows as JSON.

    status_page.py CHROMIUM URL [--token TOKEN] [--screenshots DIRECTORY]

The page is shown as on a computer in light colours, and as on a phone in dark ones.
"""

import argparse
import base64
import json
import os

from browser import new_page, with_chromium

SHOWN = """(() => {
  const text = (selector) => [...document.querySelectorAll(selector)].map((element) => element.textContent);
  return {
    title: document.title, ready: text("#ready")[0], generation: text("#generation")[0],
    figures: Object.fromEntries([...document.querySelectorAll("#figures div")].map((item) =>
      [item.querySelector("dt").textContent, item.querySelector("dd").textContent])),
    rows: [...document.querySelectorAll("#upstreams tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent)),
    chart: text("#chart title")[0], bars: document.querySelectorAll("#chart rect").length,
    history: text("#history li"), transitions: text("#transitions li"),
    trouble: !document.getElementById("trouble").hidden,
    foreign: performance.getEntriesByType("resource").filter((entry) => !entry.name.startsWith(location.origin)).length,
    width: document.documentElement.scrollWidth, back: getComputedStyle(document.body).backgroundColor,
  };
})()"""


async def screenshot(page, options, name):
    if options.screenshots:
        shot = await page.call("Page.captureScreenshot", captureBeyondViewport=True)
        with open(os.path.join(options.screenshots, name), "wb") as file:
            file.write(base64.b64decode(shot["data"]))


async def look(page, width, scheme):
    await page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


async def run(endpoint, options):
    async with new_page(endpoint) as page:
        for domain in ["Page", "Runtime", "Log"]:
            await page.call(f"{domain}.enable")
        await look(page, 1280, "light")
        await page.call("Page.navigate", url=options.url)
        asked = False
        if options.token:
            await page.wait("document.getElementById('login')?.hidden === false")
            asked = True
            await page.evaluate("document.getElementById('token').focus()")
            await page.call("Input.insertText", text=options.token)
            enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            await page.call("Input.dispatchKeyEvent", type="keyDown", **enter)
            await page.call("Input.dispatchKeyEvent", type="keyUp", **enter)
        await page.wait("document.readyState == 'complete' && document.getElementById('data')?.hidden === false"
                         " && document.querySelectorAll('#chart rect').length > 0")
        wide = await page.evaluate(SHOWN)
        await screenshot(page, options, "light.png")
        await look(page, 390, "dark")
        narrow = await page.evaluate(SHOWN)
        await screenshot(page, options, "dark.png")
        errors = [event for event in page.events if event["method"] == "Runtime.exceptionThrown"
                  or event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error"
                  and "401" not in event["params"]["entry"]["text"]]
        print(json.dumps({"asked": asked, "errors": errors, "wide": wide, "narrow": narrow}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("chromium")
    parser.add_argument("url")
    parser.add_argument("--token")
    parser.add_argument("--screenshots")
    options = parser.parse_args()
    with_chromium(options.chromium, [], lambda endpoint: run(endpoint, options))


main()
