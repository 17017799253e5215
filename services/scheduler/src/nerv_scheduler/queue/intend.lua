-- SPDX-License-Identifier: Apache-2.0
-- Remember that a run is about to be started, unless it is there, or that an order is about to be recorded.
-- KEYS: run, delayed    ARGV: run, delay (ms), what (:start, :order)
if ARGV[3] == ':start' and redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local now = redis.call('TIME')
local due = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) + tonumber(ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', due), ARGV[1] .. '\n' .. ARGV[3])
return 1
