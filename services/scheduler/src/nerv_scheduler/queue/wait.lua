-- SPDX-License-Identifier: Apache-2.0
-- A node sleeps until it is due, or until the run is told something. A run with nothing but sleeping nodes is parked.
-- KEYS: stream    ARGV: run, nonce, entry, node, due (ms; 0: never), key, orders
local run, node, due = ARGV[1], ARGV[4], ARGV[5]
local key = run_key(run)
local known = redis.call('HMGET', key, 'n:' .. node, 's:' .. node, 'orders', 'status', 'paused', 'active', 'round')
if known[1] ~= ARGV[2] then
  return 'lost'
end
if known[2] == 'sleeping' or known[2] == 'ready' then
  return 'done'
end
if known[2] ~= 'running' then
  return 'lost'
end
acknowledge(ARGV[3])
if tonumber(known[3]) > tonumber(ARGV[7]) or known[4] ~= 'running' then
  -- What it waits for may have come since history was read, or nothing is waited for any more.
  enqueue(key, run, node)
  return 'done'
end
redis.call('HSET', key, 's:' .. node, 'sleeping', 'k:' .. node, ARGV[6])
redis.call('HDEL', key, 'e:' .. node)
if due ~= '0' then
  redis.call('ZADD', DELAYED, due, run .. '\n' .. node)
end
if ARGV[6] ~= '' then
  redis.call('ZADD', AWAITED, 0, found_by(ARGV[6], run, node, known[7]))
end
if redis.call('HINCRBY', key, 'asleep', 1) == tonumber(known[6]) and known[5] ~= '1' then
  redis.call('DEL', key)
  redis.call('SADD', PARKED, run)
end
return 'done'
