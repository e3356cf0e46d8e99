-- What every wrk script prints at the end. An answer that is no 2xx counts as `refused`.
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\nJSON {"requests":%d,"rps":%.1f,"p50":%d,"p99":%d,"failed":%d,"refused":%d}\n', summary.requests,
    summary.requests / (summary.duration / 1e6), latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout, e.status))
end
