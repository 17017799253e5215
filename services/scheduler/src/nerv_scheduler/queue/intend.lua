-- SPDX-License-Identifier: Apache-2.0
-- Remember that a run is about to be started, unless it is there.
-- KEYS: run, delayed    ARGV: run, delay (ms)
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local now = redis.call('TIME')
local due = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) + tonumber(ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', due), ARGV[1] .. '\n:start')
return 1
