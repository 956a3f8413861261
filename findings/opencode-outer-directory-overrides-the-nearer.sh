#!/usr/bin/env bash
# Behaviour: among `opencode.json` files the one nearest to the working directory wins, among `.opencode/opencode.json` files the outermost one does.
# Guess: the nearer configuration wins in both cases.
# Version: opencode-ai 1.18.33 (npm)
# Consequence: a setting in a subdirectory's .opencode has no effect where the repository's .opencode sets it; look at `opencode debug config`.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

npm install --silent --no-audit --no-fund opencode-ai@1.18.33 > /dev/null

export HOME=$place/home XDG_CONFIG_HOME= XDG_DATA_HOME= XDG_STATE_HOME= XDG_CACHE_HOME=
mkdir -p home project/inner/.opencode project/.opencode
git init -q project
echo '{"username": "outer file"}' > project/opencode.json
echo '{"username": "inner file"}' > project/inner/opencode.json
name() { (cd project/inner && ../../node_modules/.bin/opencode debug config 2> /dev/null | grep username); }
{
  name
  echo '{"username": "outer directory"}' > project/.opencode/opencode.json
  echo '{"username": "inner directory"}' > project/inner/.opencode/opencode.json
  name
} > seen
diff -b - seen <<'SEEN'
  "username": "inner file",
  "username": "outer directory",
SEEN
