#!/usr/bin/env python3
"""Completion in bash, zsh and fish, and the manual pages."""

import os
import shutil
import subprocess

from harness import SOURCE_DIR, Skip, equal, run_tests, test

COMPLETIONS = os.path.join(SOURCE_DIR, "contrib", "completions")
MANUALS = os.path.join(SOURCE_DIR, "docs", "man")
BASH = """
. "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_latentctl
printf '%s\\n' "${COMPREPLY[@]}"
"""

# What the script hands to zsh's own functions, which draw the list.
ZSH = """
_describe() { print -rl -- "${(@P)2}"; }
_files() { print -r -- files "$@"; }
script=$1; shift
words=("$@"); CURRENT=$#
offer() { . $script; }
offer
"""


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    assert not result.stderr, f"{command}: {result.stderr}"
    return result.stdout


def needs(program):
    if not shutil.which(program):
        raise Skip(f"{program} is not here")


def bash(ws, *words):
    """What bash offers for the last of the words behind latentctl."""
    script = os.path.join(COMPLETIONS, "latentctl.bash")
    program = os.path.join(ws.programs, "latentctl")
    return run("bash", "-c", BASH, "bash", script, program, *words, cwd=ws.root).splitlines()


@test
def bash_offers_commands_options_values_and_files(ws):
    needs("bash")
    open(ws.path("a picture.png"), "wb").close()
    os.makedirs(ws.path("folder"))
    equal(bash(ws, "ver"), ["verify"], "commands that begin so")
    assert {"encode", "status", "plan"} <= set(bash(ws, "")), "all commands"
    equal(bash(ws, "encode", "--res"), ["--resolution", "--resolutions"], "options that begin so")
    equal(bash(ws, "encode", "src", "--posterior", ""), ["mean", "moments", "draw"], "values")
    equal(
        bash(ws, "encode", "src", "--posterior", "m"), ["mean", "moments"], "values that begin so"
    )
    equal(bash(ws, "status", "--js"), ["--json"], "an option of a command that reads")
    assert "--posterior" not in bash(ws, "status", "--"), "an option of another command"
    equal(bash(ws, "encode", "--out", "fol"), ["folder"], "a folder")
    equal(bash(ws, "encode", "--seed", ""), [""], "a number has no candidates")
    equal(bash(ws, "plan", "--svg", "a"), ["a picture.png"], "a file with a blank")
    equal(bash(ws, "rebuild", "fol"), ["folder"], "a word that is a folder")
    equal(bash(ws, "nonsense", "--"), [""], "an unknown command")


@test
def every_command_answers(ws):
    for line in ws.latentctl("complete", "").out.splitlines():
        command, _, meaning = line.partition("\t")
        assert meaning, line
        options = ws.latentctl("complete", command, "--").out
        assert "--help\tthis text" in options, f"{command}: {options}"


@test
def fish_offers_them_with_their_meaning(ws):
    needs("fish")
    script = os.path.join(COMPLETIONS, "latentctl.fish")
    environment = {**ws.environment, "PATH": f"{ws.programs}:{os.environ['PATH']}", "HOME": ws.root}

    def fish(line):
        command = f"source {script}; complete -C '{line}'"
        return run("fish", "--no-config", "-c", command, cwd=ws.root, env=environment).splitlines()

    equal(fish("latentctl veri"), ["verify\tread every shard and check every hash"], "a command")
    equal(
        fish("latentctl encode --poste"),
        ["--posterior\twhat is kept of the distribution"],
        "option",
    )
    equal(fish("latentctl encode --posterior mo"), ["moments"], "a value")


@test
def zsh_takes_its_script(ws):
    needs("zsh")
    run("zsh", "-n", os.path.join(COMPLETIONS, "_latentctl"))


@test
def zsh_offers_them_with_their_meaning(ws):
    needs("zsh")
    script, program = os.path.join(COMPLETIONS, "_latentctl"), os.path.join(ws.programs, "latentctl")

    def zsh(*words):
        return run("zsh", "-f", "-c", ZSH, "zsh", script, program, *words, cwd=ws.root).splitlines()

    equal(zsh("veri"), ["verify:read every shard and check every hash"], "a command")
    equal(zsh("encode", "--poste"), ["--posterior:what is kept of the distribution"], "an option")
    equal(zsh("encode", "src", "--posterior", "m"), ["mean", "moments"], "values")
    equal(zsh("encode", "--out", ""), ["files -/"], "a folder")
    equal(zsh("plan", "--svg", ""), ["files"], "a file")


@test
def the_manual_pages_are_good_roff(ws):
    pages = [os.path.join(MANUALS, name) for name in sorted(os.listdir(MANUALS))]
    assert len(pages) == 3, pages
    if shutil.which("mandoc"):
        equal(run("mandoc", "-Tlint", "-Wwarning", *pages), "", "mandoc")
    elif not shutil.which("man"):
        raise Skip("neither mandoc nor man is here")
    if shutil.which("man"):
        for page in pages:
            run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page)


if __name__ == "__main__":
    run_tests()
