-- wrk script: polls registrations that wait, one after the other. Arguments: host, a file with a claim token per
-- line, and how many lines to go on by.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
local requests, next_one = {}, 0

function init(args)
  local line, step = 0, tonumber(args[3])
  for token in io.lines(args[2]) do
    line = line + 1
    if line % step == 0 then requests[#requests + 1] = wrk.format("POST", "/oauth2/token",
      {["Host"] = args[1], ["Content-Type"] = "application/json"},
      '{"grant_type":"urn:workos:agent-auth:grant-type:claim","claim_token":"' .. token .. '"}')
    end
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end
