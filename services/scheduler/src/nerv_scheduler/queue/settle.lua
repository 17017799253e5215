-- SPDX-License-Identifier: Apache-2.0
-- A node is not completed, for good: write why, and acknowledge the entry. Checks first, writes last.
-- KEYS: run, stream, delayed, parked, awaited
-- ARGV: group, epoch, attempt, entry, node, verdict (failed, cancelled), error
local node = ARGV[5]
local known = redis.call('HMGET', KEYS[1], 'epoch', 'a:' .. node, 's:' .. node, 'status', 'run', 'k:' .. node)
if known[1] ~= ARGV[2] or known[2] ~= ARGV[3] then
  return 'lost'
end
if known[3] == ARGV[6] then
  return 'done'
end
if known[3] ~= 'running' then
  return 'lost'
end
local now = redis.call('TIME')
local ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))

local function enqueue(name)
  local entry = redis.call('XADD', KEYS[2], '*', 'run', known[5], 'node', name)
  redis.call('HSET', KEYS[1], 's:' .. name, 'ready', 'e:' .. name, entry)
end

redis.call('HSET', KEYS[1], 's:' .. node, ARGV[6], 't:' .. node, ms)
redis.call('HDEL', KEYS[1], 'e:' .. node)
redis.call('HSET', KEYS[1], 'x:' .. node, ARGV[7])
if ARGV[6] == 'failed' and known[4] == 'running' then
  redis.call('HSET', KEYS[1], 'status', 'failing')
  -- What a pause holds back, or what sleeps, goes on, to be given up.
  for name in string.gmatch(redis.call('HGET', KEYS[1], 'nodes'), '[^\n]+') do
    local status = redis.call('HGET', KEYS[1], 's:' .. name)
    if status == 'held' or status == 'sleeping' then
      redis.call('ZREM', KEYS[3], known[5] .. '\n' .. name)
      enqueue(name)
    end
  end
  redis.call('HSET', KEYS[1], 'asleep', 0)
end
if known[6] and known[6] ~= '' then
  redis.call('ZREM', KEYS[5], known[6] .. '\n' .. known[5] .. '\n' .. node)
end
local active = redis.call('HINCRBY', KEYS[1], 'active', -1)
local rest = redis.call('HMGET', KEYS[1], 'asleep', 'paused', 'status')
if active == 0 then
  enqueue(':end')
elseif rest[3] == 'running' and active == tonumber(rest[1] or '0') and rest[2] ~= '1' then
  -- All that is left sleeps: what wakes it is kept, and history has the rest.
  redis.call('DEL', KEYS[1])
  redis.call('SADD', KEYS[4], known[5])
end
redis.call('XACK', KEYS[2], ARGV[1], ARGV[4])
redis.call('XDEL', KEYS[2], ARGV[4])
return 'done'
