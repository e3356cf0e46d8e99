-- wrk script: the same request again and again. Arguments: host, path, JSON body, headers as name=value. `########` in the
-- body is the number of the request: calls of one MCP session that are under way together need ids that differ.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
local sent, before, after
local count = 0

function init(args)
  local headers = {["Host"] = args[1], ["Content-Type"] = "application/json"}
  for i = 4, #args do
    local name, value = args[i]:match("^([^=]+)=(.*)$")
    headers[name] = value
  end
  sent = wrk.format("POST", args[2], headers, args[3])
  before, after = sent:match("^(.*)########(.*)$")
end

function request()
  if not before then return sent end
  count = count + 1
  return before .. string.format("%08d", count) .. after
end
