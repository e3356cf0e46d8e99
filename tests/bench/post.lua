-- wrk script: the same request again and again. Arguments: host, path, JSON body, headers as name=value.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
local sent

function init(args)
  local headers = {["Host"] = args[1], ["Content-Type"] = "application/json"}
  for i = 4, #args do
    local name, value = args[i]:match("^([^=]+)=(.*)$")
    headers[name] = value
  end
  sent = wrk.format("POST", args[2], headers, args[3])
end

function request()
  return sent
end
