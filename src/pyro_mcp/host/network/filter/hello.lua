-- Reads what HAProxy's own fetches don't: whether a TLS ClientHello has the extension encrypted_client_hello (0xfe0d),
-- with which a client hides the name of the server that it wants.

local ENCRYPTED_CLIENT_HELLO = 0xfe0d
-- The record's and the handshake's headers, the version and the random bytes come before the session id.
local SESSION_ID = 44

core.register_fetches("hides_name", function(txn)
  local hello = txn.f:req_payload(0, 0)
  if not hello or #hello < SESSION_ID then
    return 0
  end
  local function number(at, bytes)
    local value = 0
    for offset = 0, bytes - 1 do
      value = value * 256 + (hello:byte(at + offset) or 0)
    end
    return value
  end
  local at = SESSION_ID
  at = at + 1 + number(at, 1) -- session id
  at = at + 2 + number(at, 2) -- cipher suites
  at = at + 1 + number(at, 1) -- compression methods
  local last = math.min(at + 1 + number(at, 2), #hello)
  at = at + 2
  while at + 3 <= last do
    if number(at, 2) == ENCRYPTED_CLIENT_HELLO then
      return 1
    end
    at = at + 4 + number(at + 2, 2)
  end
  return 0
end)

-- Whether what a client said first contains a request of HTTP, if it is not one that HAProxy takes for such.
core.register_fetches("mentions_http", function(txn)
  local said = txn.f:req_payload(0, 0)
  return said and said:find("HTTP/", 1, true) and 1 or 0
end)
