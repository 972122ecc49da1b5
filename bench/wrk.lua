-- Prints what was counted as one line of JSON. With arguments "PATH FILE" it requests PATH followed
-- by the lines of FILE in turn; without them, always the path of the URL.
function init(args)
  if #args < 2 then return end
  local requests = {}
  for line in io.lines(args[2]) do
    requests[#requests + 1] = wrk.format("GET", args[1] .. line)
  end
  local n = math.random(#requests)
  function request()
    n = n % #requests + 1
    return requests[n]
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"micros":%d,"bytes":%d,"errors":%d,"p50":%d,"p99":%d,"max":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
