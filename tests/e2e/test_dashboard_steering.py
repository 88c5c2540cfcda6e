#!/usr/bin/env python3
"""What a person pauses on the page: one encoder, one dataset, everything."""

from browser import Browser
from dashboard_rig import PALE, TOKEN, WRONG, press, start, with_tcp
from harness import equal, run_tests, test

BUTTONS = "[...document.querySelectorAll('button')].filter((b) => b.checkVisibility())"


def labels(page):
    return page.run(f"{BUTTONS}.map((b) => b.ariaLabel || b.textContent)")


def wait_for_label(page, *wanted):
    for label in wanted:
        page.wait(f"{BUTTONS}.some((b) => (b.ariaLabel || b.textContent) === '{label}' && b.ariaDisabled === null)")


def click(page, label):
    """A button that is there, with the keyboard."""
    page.run(f"{BUTTONS}.find((b) => (b.ariaLabel || b.textContent) === '{label}').focus()")
    press(page, "Enter", 13)


@test
def encoders_datasets_and_everything_are_paused_and_resumed(ws):
    daemon = with_tcp(ws)
    daemon.dataset("scans")
    daemon.config["encoders"] = [{"type": "fake"}, {"type": "fake", "name": "second <b>"}]
    with Browser(ws) as page:
        port = start(daemon)
        for name in ("photos", "scans"):
            daemon.wait_for_state("idle", name)
        page.open(f"http://localhost:{port}/")
        wait_for_label(page, "Pause fake", "Pause second <b>", "Pause all", "Pause photos", "Pause scans")
        page.run(
            f"document.querySelector('#token').value = '{TOKEN}';"
            "document.querySelector('#token-form button').click()"
        )
        click(page, "Pause second <b>")
        wait_for_label(page, "Resume second <b>", "Pause fake")
        # the keyboard stays where it is, picture after picture
        page.run("window.seen = last; 0")
        page.wait("window.seen !== last")
        equal(page.run("document.activeElement.ariaLabel"), "Resume second <b>", "where the keyboard is")
        paused = {e["name"]: e["paused"] for e in daemon.status()["encoders"]}
        equal(paused, {"fake": False, "second <b>": True}, "encoders that are paused")
        click(page, "Resume second <b>")
        wait_for_label(page, "Pause second <b>")
        # some datasets are paused, then all, then none
        assert "Resume all" not in labels(page), labels(page)
        click(page, "Pause scans")
        wait_for_label(page, "Resume scans", "Pause all", "Resume all")
        click(page, "Pause all")
        wait_for_label(page, "Resume scans", "Resume photos", "Resume all")
        page.wait("document.querySelector('#message').textContent === 'pause: done (2)'")
        assert "Pause all" not in labels(page), labels(page)
        for name in ("photos", "scans"):
            equal(daemon.about(name)["state"], "paused", name)
        for scheme in ("light", "dark"):
            page.scheme(scheme)
            equal(page.run(PALE), [], f"text that can hardly be read, {scheme}")
        equal(page.run(WRONG), [], "roles")
        for width in (400, 1280):
            page.size(width, 900)
            wide = page.run("document.documentElement.scrollWidth")
            assert wide <= width, f"the page is {wide} wide on a screen of {width}"
            hidden = f"{BUTTONS}.filter((b) => b.getBoundingClientRect().right > {width}).length"
            equal(page.run(hidden), 0, f"buttons beyond a screen of {width}")
        click(page, "Resume all")
        wait_for_label(page, "Pause all", "Pause photos", "Pause scans")
        for name in ("photos", "scans"):
            daemon.wait_for_state("idle", name)
        equal(page.errors, [], "errors in the browser's console")
    daemon.stop()


if __name__ == "__main__":
    run_tests()
