#!/usr/bin/env python3
"""update-docs.py BUILD [--check]: writes what documents take from the programs' own tables.

    config/latentd.example.yaml      every setting of the configuration
    docs/CONFIG.md                   the same as a table
    docs/man/latentd.yaml.5          the same for man
    docs/man/latentctl.1, latentd.8  commands and options, as --help has them

In a document the part between two lines with "made by update-docs: WHAT" and "end of WHAT" is written again.
With --check nothing is written: the exit status is 1 if a file would change.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
EXAMPLE = """# Every setting of latentd, with its default or an example; what has neither is commented out.
# Paths are absolute or begin at the folder of this file. latentd.yaml(5) and docs/CONFIG.md say more.

"""


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def roff(text):
    """Lines that roff prints as they are."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "".join(
        f"\\&{line}\n" if line[:1] in (".", "\\") else f"{line}\n" for line in text.splitlines()
    )


def preformatted(text):
    return f".nf\n{roff(text)}.fi\n"


def commands(latentctl):
    """The names that `latentctl --help` lists."""
    return re.findall(
        r"^  ([a-z-]+) .*?$", output(latentctl, "--help").split("exit status")[0], re.M
    )


def latentctl_options(latentctl):
    text = ""
    for name in commands(latentctl):
        if name != "version":
            text += f".SS {name}\n{preformatted(output(latentctl, name, '--help'))}"
    return text


def splice(text, what, made):
    pattern = rf"(^[^\n]*made by update-docs: {what}\b[^\n]*\n).*?(^[^\n]*end of {what}\b)"
    spliced, n = re.subn(pattern, lambda m: m[1] + made + m[2], text, flags=re.M | re.S)
    if n != 1:
        sys.exit(f"{what}: {n} places for it, not one")
    return spliced


def documents(build):
    """(file, its contents) for each document."""
    config_docs = os.path.join(build, "tests", "config_docs")
    latentctl, latentd = (os.path.join(build, "daemon", name) for name in ("latentctl", "latentd"))
    yield "config/latentd.example.yaml", lambda text: EXAMPLE + output(config_docs, "example")
    yield "docs/CONFIG.md", lambda text: splice(text, "settings", output(config_docs, "markdown"))
    yield "docs/man/latentd.yaml.5", lambda text: splice(
        text, "settings", output(config_docs, "roff")
    )
    yield "docs/man/latentctl.1", lambda text: splice(text, "options", latentctl_options(latentctl))
    yield "docs/man/latentd.8", lambda text: splice(
        splice(text, "options", preformatted(output(latentd, "--help"))),
        "serve",
        preformatted(output(latentd, "serve", "--help")),
    )


def main():
    build, check = sys.argv[1], "--check" in sys.argv[2:]
    stale = []
    for name, make in documents(build):
        path = os.path.join(ROOT, name)
        old = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                old = file.read()
        new = make(old)
        if new != old:
            stale.append(name)
            if not check:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(new)
    for name in stale:
        print(
            f"{name}: {'is not what the programs say: scripts/update-docs.py BUILD' if check else 'written'}"
        )
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
