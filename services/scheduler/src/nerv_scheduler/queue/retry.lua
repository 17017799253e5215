-- SPDX-License-Identifier: Apache-2.0
-- An attempt has failed and another one is due later.
-- KEYS: run, stream, delayed    ARGV: group, epoch, attempt, entry, node, error, delay (ms)
local node = ARGV[5]
local known = redis.call('HMGET', KEYS[1], 'epoch', 'a:' .. node, 's:' .. node, 'run')
if known[1] ~= ARGV[2] or known[2] ~= ARGV[3] then
  return 'lost'
end
if known[3] == 'retrying' then
  return 'done'
end
if known[3] ~= 'running' then
  return 'lost'
end
local now = redis.call('TIME')
local due = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) + tonumber(ARGV[7])
redis.call('HSET', KEYS[1], 's:' .. node, 'retrying', 'x:' .. node, ARGV[6])
redis.call('HINCRBY', KEYS[1], 'f:' .. node, 1)
redis.call('HDEL', KEYS[1], 'e:' .. node)
redis.call('ZADD', KEYS[3], string.format('%.0f', due), known[4] .. '\n' .. node)
redis.call('XACK', KEYS[2], ARGV[1], ARGV[4])
redis.call('XDEL', KEYS[2], ARGV[4])
return 'done'
