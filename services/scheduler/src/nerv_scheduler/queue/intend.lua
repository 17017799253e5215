-- SPDX-License-Identifier: Apache-2.0
-- Remember that a run is about to be started, unless it is there, or that an order is about to be recorded.
-- KEYS: stream    ARGV: run, delay (ms), what (:start, :order)
if ARGV[3] == ':start' and redis.call('EXISTS', run_key(ARGV[1])) == 1 then
  return 0
end
redis.call('ZADD', DELAYED, text(now() + tonumber(ARGV[2])), ARGV[1] .. '\n' .. ARGV[3])
return 1
