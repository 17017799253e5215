-- SPDX-License-Identifier: Apache-2.0
-- What is due by now of retries, sleeping nodes and unfinished starts, and whether the queue is known to be intact.
-- KEYS: delayed    ARGV: most members
local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local intact = redis.call('ZSCORE', KEYS[1], ':intact') and 1 or 0
return { intact, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', ms), 'LIMIT', 0, ARGV[1]) }
