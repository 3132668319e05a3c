-- What wrk sends, and what it tells: wrk -s requests.lua URL -- METHOD BYTES
function init(args)
  wrk.method = args[1]
  if tonumber(args[2]) > 0 then
    wrk.body = string.rep("x", tonumber(args[2]))
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "drainkit %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
