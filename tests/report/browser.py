"""What is wrong with a self-contained HTML report, as a browser sees it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.fields import Fields

NAMES = ("chromium", "chromium-browser", "google-chrome")


def executable() -> str | None:
    """The system's Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # The sandbox refuses to run as root, and what is opened was written by the test.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def faults(browser: Browser, path: Path) -> list[str]:
    """Every fault of the report at `path`, each as "kind: what". Kinds: console, page, request, image, alt, contrast,
    overflow, keyboard, print, published, sort, filter."""
    found: list[str] = []
    with opened(browser, path, found, viewport={"width": 390, "height": 844}, is_mobile=True) as page:
        published(page)
        found += [f"overflow: {what}" for what in page.evaluate(OVERFLOW)]
    with opened(browser, path, found) as page:
        found += published(page)
        found += images(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found += [f"contrast: {scheme}, {what}" for what in page.evaluate(CONTRAST)]
        found += keyboard(page)
        found += sorting(page)
        found += filtering(page)
    found += printed(browser, path)
    return list(dict.fromkeys(found))


PAPER = 1047
"""CSS pixels across A4 in landscape, between margins of 1 cm."""


def printed(browser: Browser, path: Path) -> list[str]:
    """Whether paper is wide enough, with everything shown."""
    found: list[str] = []
    with opened(browser, path, found, viewport={"width": PAPER, "height": 700}) as page:
        published(page)
        page.emulate_media(media="print")
        wide = page.evaluate("document.documentElement.scrollWidth")
    return found + ([f"print: {wide} px wide on paper of {PAPER}"] if wide > PAPER else [])


@contextmanager
def opened(browser: Browser, path: Path, found: list[str], **options: object) -> Iterator[Page]:
    """The page with every <details> open; what it logs or asks for goes to `found`, also while it is used."""
    # Offline: a planted request must fail at once, whatever network the machine has.
    given: Fields = {"offline": True, "reduced_motion": "reduce", **options}
    context = browser.new_context(**given)
    context.set_default_timeout(5000)
    page = context.new_page()
    url = path.resolve().as_uri()
    page.on("console", lambda m: found.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(f"page: {error}"))
    page.on("websocket", lambda socket: found.append(f"request: {socket.url}"))
    page.on("request", lambda r: None if r.url.startswith((url, "data:")) else found.append(f"request: {r.url}"))
    page.goto(url)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    yield page
    page.evaluate("new Promise(done => setTimeout(done))")  # what is logged last arrives before this returns
    context.close()


def published(page: Page) -> list[str]:
    """Tick #show-published, which shows what nothing else does."""
    seen = "[...document.querySelectorAll('.published')].map(e => e.checkVisibility({visibilityProperty: true}))"
    before = page.evaluate(seen)
    box = page.locator("#show-published")
    if box.count():
        box.check()
    after = page.evaluate(seen)
    faults = ["published: shown before #show-published is ticked"] if any(before) else []
    return faults + (["published: hidden after #show-published is ticked"] if not all(after) else [])


def images(page: Page) -> list[str]:
    found: list[str] = page.evaluate("""async () => {
        const faults = []
        for (const image of document.images) {
            image.loading = "eager"
            await image.decode().catch(() => {})
            const name = image.alt || image.src.slice(0, 60)
            if (!image.naturalWidth) faults.push(`image: ${name} does not decode`)
            if (!image.alt.trim()) faults.push(`alt: ${name} has none`)
        }
        return faults
    }""")
    return found


def keyboard(page: Page) -> list[str]:
    """Press Tab until it has gone round: every control must have had the focus."""
    page.evaluate("window.reached = new Set()")
    for _ in range(page.evaluate("document.querySelectorAll('*').length")):
        page.keyboard.press("Tab")
        if page.evaluate("reached.has(document.activeElement)"):
            break
        page.evaluate("reached.add(document.activeElement)")
    found: list[str] = page.evaluate("""() => [
        ...document.querySelectorAll("button.sort, input.filter, #show-published")].filter(e => !reached.has(e))
            .map(e => `keyboard: Tab does not reach ${e.textContent || e.className || e.id}`)
    """)
    return found


def sorting(page: Page) -> list[str]:
    found: list[str] = []
    tables = page.locator("table.results")
    if not tables.count():
        found.append("sort: no table.results")
    for table in tables.all():
        name = table.get_attribute("id")
        buttons = table.locator("th[scope=col] > button.sort").all()
        if len(buttons) < 2:
            found.append(f"sort: {name} has {len(buttons)} buttons")
        start = table.evaluate(TABLE)
        names = sorted(r["name"] for r in start["rows"])
        for column, button in enumerate(buttons):  # one a column: head cells above several have none
            number = column > 0 and start["rows"][0]["keys"][column] is not None
            order = ["descending", "ascending"] if number else ["ascending", "descending"]
            for direction in order:
                button.click()
                now = table.evaluate(TABLE)
                where = f"{name}, column {column}, {direction}"
                if now["sorted"] != {str(column): direction}:
                    found.append(f"sort: {where}: aria-sort is {now['sorted']}")
                if now["averages"] != start["averages"]:
                    found.append(f"sort: {where}: the averages moved")
                if sorted(r["name"] for r in now["rows"]) != names:
                    found.append(f"sort: {where}: rows were lost")
                keys = [r["keys"][column] if number else r["text"][column] for r in now["rows"]]
                if keys not in ordered(keys, number, direction == "descending"):
                    found.append(f"sort: {where}: {keys}")
    return found


def ordered(keys: list[str], number: bool, descending: bool) -> list[list[str]]:
    """The right orders: numbers with the missing ones last; text by code or without regard to case and signs."""
    if number:
        there = sorted((k for k in keys if k), key=float, reverse=descending)
        return [there + [k for k in keys if not k]]
    plain = lambda text: "".join(filter(str.isalnum, text.casefold()))
    return [sorted(keys, key=key, reverse=descending) for key in (str, str.casefold, plain)]


def filtering(page: Page) -> list[str]:
    found: list[str] = []
    for table in page.locator("table.results").all():
        name = table.get_attribute("id")
        box = page.locator(f'input[type=search].filter[data-for="{name}"]')
        if box.count() != 1:
            found.append(f"filter: {name} has {box.count()}")
            continue
        classes = [row["name"] for row in table.evaluate(TABLE)["rows"]]
        for text in (*sorted(set(classes))[:2], classes[0][1:3], "no such class", ""):
            box.fill("")
            box.press_sequentially(text)
            now = table.evaluate(TABLE)
            wrong = [row["name"] for row in now["rows"] if (text in row["name"]) != row["seen"]]
            if wrong:
                found.append(f"filter: {name}, {text!r}: wrong for {wrong}")
            if not all(row["seen"] for row in now["averages"]):
                found.append(f"filter: {name}, {text!r}: averages are hidden")
    return found


TABLE = """table => {
    const rows = section => [...table.querySelectorAll(`tbody.${section} > tr`)].map(row => ({
        name: row.dataset.class ?? "",
        at: row.rowIndex,
        keys: [...row.cells].map(cell => cell.dataset.value ?? null),
        text: [...row.cells].map(cell => cell.textContent.trim()),
        seen: row.checkVisibility(),
    }))
    const heads = [...table.querySelectorAll("th > button.sort")].map(button => button.parentElement)
    const sorted = [...table.querySelectorAll("th[aria-sort]")].filter(th => th.ariaSort !== "none")
    return {
        rows: rows("classes"),
        averages: rows("averages"),
        sorted: Object.fromEntries(sorted.map(th => [heads.indexOf(th), th.ariaSort])),
    }
}"""

# Who sticks out, and not only that the page is too wide: a table in a box of its own that scrolls does not.
OVERFLOW = """() => {
    const wide = document.documentElement.scrollWidth
    if (wide <= 390) return []
    const clipped = e => e && e !== document.body && (getComputedStyle(e).overflowX !== "visible"
        || clipped(e.parentElement))
    const out = [...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > 390.5
        && !clipped(e.parentElement))
    return [`the page is ${wide} px wide: ` + out.slice(0, 5).map(e => e.outerHTML.slice(0, 60)).join(" | ")]
}"""

# WCAG's contrast of every visible text, generated content and placeholders too, with what its ancestors paint
# behind it. Something else that is drawn there (a neighbour moved below it, shapes in an SVG) is not seen.
CONTRAST = """() => {
    document.body.checkVisibility()  // starts the transitions that a new colour scheme may bring
    for (const animation of document.getAnimations()) try { animation.finish() } catch {}  // it may be endless
    const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
    const context = canvas.getContext("2d", {willReadFrequently: true})
    const parsed = {}
    const parse = css => parsed[css] ??= (() => {  // a canvas knows every notation of a colour
        context.clearRect(0, 0, 1, 1)
        context.fillStyle = css
        context.fillRect(0, 0, 1, 1)
        const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data
        return [[r, g, b], a / 255]
    })()
    const mix = (below, above, alpha) => below.map((c, i) => c + (above[i] - c) * alpha)
    const over = (below, css, alpha = 1) => { const [c, a] = parse(css); return mix(below, c, a * alpha) }
    const luminance = rgb => rgb.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0)

    const probe = document.createElement("i")
    probe.style.background = "Canvas"
    document.documentElement.append(probe)
    const page = over([255, 255, 255], getComputedStyle(probe).backgroundColor)
    probe.remove()

    const faults = new Set()
    const check = (text, element, pseudo) => {
        const styles = []
        for (let e = element; e; e = e.parentElement) styles.unshift(getComputedStyle(e))
        const own = getComputedStyle(element, pseudo)
        if (pseudo) styles.push(own)
        const svg = element instanceof SVGElement
        const paint = (i, below) => {  // [background, text], with opacity applied to all that lies within
            if (i === styles.length)
                return [below, svg ? over(below, own.fill, own.fillOpacity) : over(below, own.color)]
            return paint(i + 1, over(below, styles[i].backgroundColor)).map(c => mix(below, c, styles[i].opacity))
        }
        const [behind, front] = paint(0, page)
        const [dark, light] = [luminance(behind), luminance(front)].sort((a, b) => a - b)
        const ratio = (light + 0.05) / (dark + 0.05)
        const name = JSON.stringify(text.trim().slice(0, 40))
        const rgb = c => `rgb(${c.map(Math.round)})`
        if (!(ratio >= 4.5)) faults.add(`${ratio.toFixed(2)}, ${rgb(front)} on ${rgb(behind)}: ${name}`)
        if (styles.some(s => s.backgroundImage !== "none")) faults.add(`over an image, not measurable: ${name}`)
    }
    const visible = e => e.checkVisibility({visibilityProperty: true})
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    const range = document.createRange()
    while (walker.nextNode()) {
        const node = walker.currentNode
        range.selectNodeContents(node)
        if (node.data.trim() && visible(node.parentElement) && range.getClientRects().length)
            check(node.data, node.parentElement)
    }
    for (const element of document.body.querySelectorAll("*")) {
        if (!visible(element)) continue
        for (const pseudo of ["::before", "::after"]) {
            const {content, display} = getComputedStyle(element, pseudo)
            if (/"\\s*[^"\\s]/.test(content) && display !== "none") check(content, element, pseudo)
        }
        if (element.placeholder) check(element.placeholder, element, "::placeholder")
    }
    return [...faults]
}"""
