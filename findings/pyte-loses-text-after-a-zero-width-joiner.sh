#!/usr/bin/env bash
# Behaviour: pyte drops the rest of a run of text after a character of no width (zero-width joiner, zero-width space, byte order mark, variation selector), up to the next control character.
# Guess: such a character is ignored or joined to the one before it, and the text goes on.
# Version: pyte 0.8.2 (PyPI)
# Consequence: take these characters out, or override Screen.draw, before output of programs is read from the screen.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyte==0.8.2

cat > probe.py <<'PYTHON'
import pyte

for name, mark in [
    ("joiner", "\u200d"), ("space", "\u200b"), ("byte order mark", "\ufeff"), ("selector", "\ufe0f"), ("accent", "\u0301"),
]:
    screen = pyte.Screen(20, 1)
    pyte.Stream(screen).feed(f"ab{mark}cd\x1b[1mef")
    print(name, ascii(screen.display[0].rstrip()))
PYTHON
venv/bin/python probe.py > seen
diff - seen <<'SEEN'
joiner 'abef'
space 'abef'
byte order mark 'abef'
selector 'abef'
accent 'ab\u0301cdef'
SEEN
