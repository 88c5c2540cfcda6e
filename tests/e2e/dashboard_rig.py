"""A daemon with its page for a test, and what is looked for on every page.

    daemon = with_tcp(ws)
    port = start(daemon)
    page.open(f"http://localhost:{port}/")
    equal(page.run(WRONG), [], "roles")
"""

import re

from daemon_rig import Daemon

TOKEN = "s3cret-word"

# Text whose contrast with what lies behind it is below 4.5, as WCAG AA wants it.
PALE = """
[...document.querySelectorAll('main *, header *')].filter((e) => e.checkVisibility() && !e.closest('svg') && e.ariaDisabled !== 'true' &&
    [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())).filter((e) => {
    const rgba = (c) => c.match(/[0-9.]+/g).map(Number);
    const light = (c) => rgba(c).slice(0, 3).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    let behind = e;
    while (behind.parentElement && rgba(getComputedStyle(behind).backgroundColor)[3] === 0)
        behind = behind.parentElement;
    const a = light(getComputedStyle(e).color), b = light(getComputedStyle(behind).backgroundColor);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
}).map((e) => e.tagName + ': ' + e.textContent.slice(0, 40))
"""

# What a screen reader would stumble over, by the rules of axe: landmarks, order of headings, lists, tables, names, live regions.
WRONG = """
(() => {
    const found = [], all = (s) => [...document.querySelectorAll(s)], name = (e) => e.getAttribute('aria-label') ||
        (e.getAttribute('aria-labelledby') || '').split(' ').map((id) => document.getElementById(id)?.textContent || '').join('');
    const want = (holds, what) => holds || found.push(what);
    want(document.documentElement.lang === 'en', 'no language');
    want(document.title !== '', 'no title');
    want(all('main').length === 1 && all('h1').length === 1, 'not one main and one h1');
    let level = 0;
    for (const h of all('h1, h2, h3, h4').filter((e) => e.checkVisibility())) {
        want(Number(h.tagName[1]) <= level + 1, 'heading after a gap: ' + h.textContent);
        level = Number(h.tagName[1]);
    }
    for (const list of all('ul, ol'))
        want([...list.children].every((e) => e.tagName === 'LI'), 'a list with other children than items');
    for (const item of all('li'))
        want(['UL', 'OL'].includes(item.parentElement.tagName), 'an item without a list');
    for (const region of all('section, [role=region], [role=group]'))
        want(name(region) !== '', 'a region without a name: ' + region.innerHTML.slice(0, 60));
    for (const region of all('[aria-live], [role=status], [role=alert]'))
        want(region.getAttribute('role') === 'status' || region.ariaLive === 'polite', 'a live region that interrupts');
    want(document.querySelector('#state').getAttribute('role') === 'status', 'the state is not live');
    want(document.querySelector('#problems').ariaLive === 'polite', 'the problems are not live');
    for (const cell of all('th'))
        want(['col', 'row'].includes(cell.scope), 'a heading of a table without scope: ' + cell.textContent);
    for (const image of all('img'))
        want(image.hasAttribute('alt'), 'a picture without alt');
    for (const id of all('[id]').map((e) => e.id))
        want(all('#' + id).length === 1, 'twice: ' + id);
    for (const label of all('[aria-labelledby]'))
        want(name(label) !== '', 'named by nothing');
    return found;
})()
"""


def with_tcp(ws, token=True):
    daemon = Daemon(ws)
    daemon.config["api"]["listen"] = "127.0.0.1:0"
    if token:
        daemon.config["api"]["token_file"] = ws.secret("token", f"{TOKEN}\n".encode())
    daemon.dataset("photos")
    return daemon


def start(daemon):
    daemon.start()
    line = daemon.says("dashboard at http://")
    return re.search(r"http://127\.0\.0\.1:(\d+)/", line).group(1)


def press(page, key, code):
    for kind in ("keyDown", "keyUp"):
        text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)
