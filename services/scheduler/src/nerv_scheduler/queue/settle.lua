-- SPDX-License-Identifier: Apache-2.0
-- A node has its verdict: write it, acknowledge the entry, and make ready what waited for it. Checks first, writes last.
-- KEYS: run, stream    ARGV: group, epoch, attempt, entry, node, verdict (completed, failed, cancelled), result or error
local node = ARGV[5]
local known = redis.call('HMGET', KEYS[1], 'epoch', 'a:' .. node, 's:' .. node, 'status', 'run')
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
local ready = 0
if ARGV[6] == 'completed' then
  redis.call('HSET', KEYS[1], 'r:' .. node, ARGV[7])
  redis.call('HDEL', KEYS[1], 'x:' .. node)
  if known[4] == 'running' then
    for child in string.gmatch(redis.call('HGET', KEYS[1], 'c:' .. node) or '', '[^\n]+') do
      if redis.call('HINCRBY', KEYS[1], 'w:' .. child, -1) == 0 then
        enqueue(child)
        ready = ready + 1
      end
    end
  end
else
  redis.call('HSET', KEYS[1], 'x:' .. node, ARGV[7])
  if ARGV[6] == 'failed' and known[4] == 'running' then
    redis.call('HSET', KEYS[1], 'status', 'failing')
    -- What a pause holds back goes on, to be given up.
    for name in string.gmatch(redis.call('HGET', KEYS[1], 'nodes'), '[^\n]+') do
      if redis.call('HGET', KEYS[1], 's:' .. name) == 'held' then
        enqueue(name)
      end
    end
  end
end
if redis.call('HINCRBY', KEYS[1], 'active', ready - 1) == 0 then
  enqueue(':end')
end
redis.call('XACK', KEYS[2], ARGV[1], ARGV[4])
redis.call('XDEL', KEYS[2], ARGV[4])
return 'done'
