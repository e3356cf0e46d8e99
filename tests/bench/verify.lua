-- wrk script: verifies keys. Arguments: host, bearer, a file with a key per line, how many of them (spread over the
-- whole file), and "once" to ask for each line one time, in order.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
local requests, next_one = {}, 0

function init(args)
  local host, bearer, file, most = args[1], args[2], args[3], tonumber(args[4])
  local lines = {}
  for line in io.lines(file) do lines[#lines + 1] = line end
  local count = math.min(most, #lines)
  math.randomseed(1)
  for i = 1, count do
    local key = args[5] == "once" and lines[i] or lines[math.random(#lines)]
    requests[i] = wrk.format("POST", "/v1/keys/verify",
      {["Host"] = host, ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. bearer},
      '{"key":"' .. key .. '","scope":"audience:read","environment":"live","cost":1}')
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end
