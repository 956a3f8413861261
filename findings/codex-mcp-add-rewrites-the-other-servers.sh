#!/usr/bin/env bash
# Behaviour: `codex mcp add` rewrites the tables of other MCP servers: comments and keys unknown to Codex are gone, arrays reflowed; the rest of the file is kept.
# Guess: adding a server appends its table and leaves every other line as it is.
# Version: @openai/codex 0.171.0 (npm)
# Consequence: a program that sets a server up should edit config.toml itself with an editor that keeps the format, or keep a copy.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

npm install --silent --no-audit --no-fund @openai/codex@0.171.0 > /dev/null

export HOME=$place/home CODEX_HOME=$place/home/.codex
mkdir -p "$CODEX_HOME"
cat > "$CODEX_HOME/config.toml" <<'TOML'
# Shared by the team.
model = "any" # see the wiki

[mcp_servers.docs]
# Port 8080 is the proxy's.
command = "docs-server"
args = [
  "--port",
  "8080",
]
startup_timeout_sec = 60
owner = "platform"
TOML
node_modules/.bin/codex mcp add new -- /bin/true > out 2> log
cp "$CODEX_HOME/config.toml" seen
diff - seen <<'SEEN'
# Shared by the team.
model = "any" # see the wiki

[mcp_servers.docs]
command = "docs-server"
args = ["--port", "8080"]
startup_timeout_sec = 60.0

[mcp_servers.new]
command = "/bin/true"
SEEN
