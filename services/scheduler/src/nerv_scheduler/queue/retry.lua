-- SPDX-License-Identifier: Apache-2.0
-- An attempt has failed and another one is due later.
-- KEYS: stream    ARGV: run, nonce, entry, node, error, delay (ms)
local run, node = ARGV[1], ARGV[4]
local key = run_key(run)
local known = redis.call('HMGET', key, 'n:' .. node, 's:' .. node)
if known[1] ~= ARGV[2] then
  return 'lost'
end
if known[2] == 'retrying' then
  return 'done'
end
if known[2] ~= 'running' then
  return 'lost'
end
redis.call('HSET', key, 's:' .. node, 'retrying', 'x:' .. node, ARGV[5])
redis.call('HINCRBY', key, 'f:' .. node, 1)
redis.call('HDEL', key, 'e:' .. node)
redis.call('ZADD', DELAYED, text(now() + tonumber(ARGV[6])), run .. '\n' .. node)
leave(key, run, node)
acknowledge(ARGV[3])
return 'done'
