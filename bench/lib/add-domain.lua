-- wrk script: each request adds a domain with a server. Arguments: prefix of the domain names, port of the servers.
local count, prefix, port = 0, nil, nil

function init(arguments)
  prefix, port = arguments[1], arguments[2]
end

function request()
  count = count + 1
  local body = string.format('{"domain":"%s%d.example.com","ip":"127.0.0.1","http_port":%s}', prefix, count, port)
  return wrk.format("POST", nil, nil, body)
end

function done(_, latency)
  local at = function(share) return latency:percentile(share) / 1000 end
  io.write(string.format("percentiles: %f %f %f ms\n", at(50), at(95), at(99)))
end
