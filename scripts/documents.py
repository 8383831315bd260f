"""Executes the commands of documents in a clean clone, and compares their output with what the documents show.

    documents.py            executes all of DOCUMENTS
    documents.py FILE...    executes these
    documents.py --write    also writes the actual output into the documents

A block of `console` has commands, which begin with `$ `, and their output. In the output, `...` stands for any lines. Times,
ports, secrets and ids may differ, and so may the order of lines. A block of `toml` or `json` whose first line is a comment with
the name of a file, or that follows a line such as "`fanout.toml`:", becomes that file, in a folder of its own for each section.
A comment before a block changes how it is executed:

    <!-- not executed: REASON -->
    <!-- in the background until COMMAND succeeds -->

The fields of a block of `insights`, a query, have to be those of the log records in `log.jsonl`.

Commands are those of the clone, built before by the other steps of .ci/run: `cargo fanout` is its binary.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = (ROOT / os.environ.get("CARGO_TARGET_DIR", "target")).resolve()
DOCUMENTS = ["README.md", "docs/RECIPES.md", "docs/LOGS.md", "CONTRIBUTING.md", "examples/own-function/README.md"]
# The longest time of one command, in seconds.
TIMEOUT = 60
# What may differ, and what it becomes.
VARIABLE = [
    (re.compile(r"whsec_[A-Za-z0-9+/=]+"), "SECRET"),
    (re.compile(r"(127\.0\.0\.1|localhost):\d+"), "HOST:PORT"),
    (re.compile(r"\b\d+(\.\d+)? ?(ns|µs|ms|s)\b"), "TIME"),
    (re.compile(r"\b\d{13}\b"), "MILLIS"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "ID"),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Of the clone, in place of cargo. Anything else is the real one.
SHIM = """#!/usr/bin/env bash
set -euo pipefail
case "${1-} ${2-} ${3-}" in
  fanout\\ *) grep -q '^fanout = "run --package fanout-cli' "$CLONE/.cargo/config.toml"; exec "$BIN/fanout" "${@:2}" ;;
  'run -p momento-local') exec "$BIN/momento-local" "${@:5}" ;;
  'run -p fanout-cli') exec "$BIN/fanout" "${@:5}" ;;
  'run -- '*) exec "$BIN/own-fanout" "${@:3}" ;;
  *) echo "documents: 'cargo $*' is not a command that this script knows" >&2; exit 127 ;;
esac
"""


@dataclass
class Command:
    text: str
    expected: list[str] = field(default_factory=list)
    actual: list[str] = field(default_factory=list)


def commands(block: str) -> list[Command]:
    """Returns the commands of a block, each with the output that the document shows."""
    found: list[Command] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:]))
        elif found and found[-1].text.endswith("\\"):
            found[-1].text += "\n" + line
        elif found:
            found[-1].expected.append(line)
    return found


def normalized(line: str) -> str:
    for pattern, name in VARIABLE:
        line = pattern.sub(name, line)
    return re.sub(r"  +", "  ", line).rstrip()


def agrees(expected: list[str], actual: list[str]) -> bool:
    """Returns True if the output has the lines that are shown, and others only where `...` stands for them."""
    shown = Counter(normalized(line) for line in expected if line.strip() not in ("", "..."))
    had = Counter(normalized(line) for line in actual if line.strip())
    missing, more = shown - had, had - shown
    return not missing and (not more or not expected or any(line.strip() == "..." for line in expected))


class Session:
    """A clone, and the processes that run in it."""

    def __init__(self, work: Path) -> None:
        self.clone = work / "clone"
        self.background: list[subprocess.Popen[bytes]] = []
        run = lambda *args, **more: subprocess.run(args, check=True, **more)
        run("git", "clone", "--quiet", "--shared", str(ROOT), str(self.clone))
        changes = run("git", "-C", str(ROOT), "diff", "HEAD", "--binary", capture_output=True).stdout
        if changes:
            run("git", "-C", str(self.clone), "apply", input=changes)
        new = run("git", "-C", str(ROOT), "ls-files", "--others", "--exclude-standard", capture_output=True, text=True)
        for name in new.stdout.splitlines():
            (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
            (self.clone / name).write_bytes((ROOT / name).read_bytes())
        shims = work / "bin"
        shims.mkdir()
        (shims / "cargo").write_text(SHIM)
        (shims / "cargo").chmod(0o755)
        for binary in ("fanout", "webhook"):
            (shims / binary).symlink_to(TARGET / "debug" / binary)
        unset = ("MOMENTO_", "WEBHOOK_", "AWS_", "OUTBOUND_", "FANOUT_", "RUST_LOG", "TRANSFORM")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
        self.environment |= {
            "PATH": f"{shims}:{os.environ['PATH']}",
            "CLONE": str(self.clone),
            "BIN": str(TARGET / "debug"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_COLOR": "1",
        }

    def start(self, text: str, folder: Path, output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-c", text],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, text: str, folder: Path) -> tuple[int, list[str]]:
        """Runs a command to its end. Returns its exit status and its output."""
        process = self.start(text, folder, subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += b"\ndocuments: still running after %d s" % TIMEOUT
        return process.returncode, output.decode().splitlines()

    def keep(self, text: str, folder: Path, until: str) -> bool:
        """Starts a command in the background, and waits until another one succeeds."""
        process = self.start(text, folder, subprocess.DEVNULL)
        self.background.append(process)
        deadline = time.monotonic() + TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            if self.run(until, folder)[0] == 0:
                return True
            time.sleep(0.1)
        return False

    def end(self) -> None:
        for process in reversed(self.background):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
        self.background.clear()


def unknown_fields(query: str, log: Path) -> list[str]:
    """Returns the fields of a query for Logs Insights that no log record has."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    known = {"@timestamp"} | {name for record in records for name in record}
    known |= set(re.findall(r"\bas (\w+)", query))
    # Without texts, patterns, functions and words of the language.
    query = re.sub(r"/[^/]*/|\w+\(|\b\d+m?\b", " ", query)
    words = set(re.findall(r"@?\w+", query))
    return sorted(words - known - {"fields", "filter", "sort", "limit", "stats", "desc", "like", "as", "by"})


def files(section: str, folder: Path) -> None:
    """Writes the files that a section shows before its first command."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, _, text in re.findall(r"`([\w./-]+)`:\n\n```(toml|json)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        (folder / name).write_text(text)


def execute(session: Session, name: str, write: bool) -> tuple[int, int]:
    """Executes a document. Returns the numbers of commands that agree, and that do not."""
    document = (ROOT / name).read_text()
    good, bad, replaced, written = 0, 0, document, 0
    home = session.clone / Path(name).parent if name.startswith("examples/") else session.clone
    folder = home
    for number, section in enumerate(re.split(r"^(?=#)", document, flags=re.MULTILINE)):
        if re.search(r"`[\w./-]+`:\n\n```(toml|json)\n", section):
            folder = session.clone / f"section-{Path(name).stem}-{number}"
            files(section, folder)
        exports = ""
        for match in FENCE.finditer(section):
            if match[1] == "insights":
                unknown = unknown_fields(match[2], next(session.clone.glob("section-*/log.jsonl")))
                good, bad = good + (not unknown), bad + bool(unknown)
                if unknown:
                    print(f"FAILED {name}: the query has the unknown fields {', '.join(unknown)}:\n{match[2]}")
            if match[1] != "console":
                continue
            before = section[: match.start()].rstrip().rsplit("\n", 1)[-1]
            if before.startswith("<!-- not executed"):
                continue
            until = re.fullmatch(r"<!-- in the background until `(.*)` succeeds -->", before)
            for command in commands(match[2]):
                text = exports + command.text
                if until:
                    done = session.keep(text, folder, until[1])
                    problem = [] if done else ["documents: it did not get ready"]
                else:
                    status, command.actual = session.run(text, folder)
                    if re.match(r"(export|cd) ", command.text):
                        exports += command.text + "\n"
                    shows_failure = any(line.startswith("fanout: ") for line in command.expected)
                    problem = [] if agrees(command.expected, command.actual) else command.actual
                    if status != 0 and not shows_failure:
                        problem = [*command.actual, f"documents: exit status {status}"]
                if not problem and not (write and command.actual and not command.expected):
                    good += 1
                    continue
                bad += 1
                line = document[: document.find(match[0])].count("\n") + 1
                print(f"FAILED {name}:{line}: {command.text}")
                for part in difflib.unified_diff(command.expected, problem, "shown", "actual", lineterm="", n=1):
                    print(f"    {part}")
                if write and command.actual:
                    shown = ["$ " + command.text, *command.expected]
                    before, place, after = replaced[written:].partition("\n".join(shown) + "\n")
                    if place:
                        before += "\n".join(["$ " + command.text, *command.actual]) + "\n"
                    replaced, written = replaced[:written] + before + after, written + len(before)
    session.end()
    if write and replaced != document:
        (ROOT / name).write_text(replaced)
    return good, bad


def main() -> int:
    write = "--write" in sys.argv
    names = [name for name in sys.argv[1:] if name != "--write"] or DOCUMENTS
    good = bad = 0
    with tempfile.TemporaryDirectory() as work:
        session = Session(Path(work))
        try:
            for name in names:
                begun = time.monotonic()
                more, less = execute(session, name, write)
                good, bad = good + more, bad + less
                print(f"{name}: {more} agree, {less} do not, {time.monotonic() - begun:.1f} s")
        finally:
            session.end()
    print(f"{good} passed, {bad} failed")
    return 0 if bad == 0 and good > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
