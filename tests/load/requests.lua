-- wrk's script: sends the requests of a file, one a line: token, idempotency key (or -), body (or -), tab-separated.
-- Arguments: method, path, file. Prints what happened as one line of JSON, after the word RESULT.
local prepared = {}
local place = 0

function init(args)
  for line in io.lines(args[3]) do
    local token, key, body = line:match("^([^\t]*)\t([^\t]*)\t(.*)$")
    local headers = { ["Authorization"] = "Bearer " .. token }
    if key ~= "-" then headers["Idempotency-Key"] = key end
    if body ~= "-" then headers["Content-Type"] = "application/json" else body = nil end
    local path = args[2]
    if path:find("{token}", 1, true) then path = path:gsub("{token}", token) end
    prepared[#prepared + 1] = wrk.format(args[1], path, headers, body)
  end
end

function request()
  place = place % #prepared + 1
  return prepared[place]
end

function done(summary, latency)
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %f, "refused": %d, "broken": %d, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
