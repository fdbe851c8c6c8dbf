-- wrk's side of the load: chat requests that are not streamed, each with a body of its own unless told otherwise.
-- Arguments: KEY PREFIX SUFFIX_FILE MODE. A body is PREFIX, a number, and what the file holds; MODE `same` leaves the number constant.

local prefix, suffix, same, salt, count

function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "Bearer " .. args[1]
  local before = io.open(args[2], "rb")
  prefix = before:read("*a")
  before:close()
  local after = io.open(args[3], "rb")
  suffix = after:read("*a")
  after:close()
  salt, same, count = args[4], args[5] == "same", 0
end

function request()
  if not same then count = count + 1 end
  return wrk.format(nil, nil, nil, prefix .. salt .. "-" .. count .. suffix)
end

function done(summary, latency, requests)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "errors": %d, "bad_status": %d, "p50_ms": %.4f, "p99_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6, bad, errors.status,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
