-- SPDX-License-Identifier: Apache-2.0
-- A node sleeps until it is due, or until the run is told something. A run with nothing but sleeping nodes is parked.
-- KEYS: run, stream, delayed, parked, awaited    ARGV: group, epoch, attempt, entry, node, due (ms; 0: never), key, orders
local node = ARGV[5]
local known = redis.call('HMGET', KEYS[1], 'epoch', 'a:' .. node, 's:' .. node, 'run', 'orders', 'status', 'paused',
  'active')
if known[1] ~= ARGV[2] or known[2] ~= ARGV[3] then
  return 'lost'
end
if known[3] == 'sleeping' or known[3] == 'ready' then
  return 'done'
end
if known[3] ~= 'running' then
  return 'lost'
end
redis.call('XACK', KEYS[2], ARGV[1], ARGV[4])
redis.call('XDEL', KEYS[2], ARGV[4])
if tonumber(known[5]) > tonumber(ARGV[8]) or known[6] ~= 'running' then
  -- What it waits for may have come since history was read, or nothing is waited for any more.
  local entry = redis.call('XADD', KEYS[2], '*', 'run', known[4], 'node', node)
  redis.call('HSET', KEYS[1], 's:' .. node, 'ready', 'e:' .. node, entry)
  return 'done'
end
redis.call('HSET', KEYS[1], 's:' .. node, 'sleeping', 'k:' .. node, ARGV[7])
redis.call('HDEL', KEYS[1], 'e:' .. node)
if ARGV[6] ~= '0' then
  redis.call('ZADD', KEYS[3], ARGV[6], known[4] .. '\n' .. node)
end
if ARGV[7] ~= '' then
  redis.call('ZADD', KEYS[5], 0, ARGV[7] .. '\n' .. known[4] .. '\n' .. node)
end
if redis.call('HINCRBY', KEYS[1], 'asleep', 1) == tonumber(known[8]) and known[7] ~= '1' then
  redis.call('DEL', KEYS[1])
  redis.call('SADD', KEYS[4], known[4])
end
return 'done'
