-- SPDX-License-Identifier: Apache-2.0
-- A node that decides what is done is completed: nodes are skipped, others are added. Checks first, writes last.
-- KEYS: run, stream, delayed, parked, awaited
-- ARGV: group, epoch, attempt, entry, node, result, suspect (0/1), how many are skipped, how many are added, skipped...,
--       (node, message, children (lines))...
local node = ARGV[5]
local known = redis.call('HMGET', KEYS[1], 'epoch', 'a:' .. node, 's:' .. node, 'status', 'run', 'c:' .. node, 'nodes',
  'k:' .. node)
if known[1] ~= ARGV[2] or known[2] ~= ARGV[3] then
  return 'lost'
end
if known[3] == 'completed' then
  return 'done'
end
if known[3] ~= 'running' then
  return 'lost'
end
local now = redis.call('TIME')
local ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
local going = known[4] == 'running'
local skips, adds = tonumber(ARGV[8]), tonumber(ARGV[9])
local ready = 0

local function enqueue(name)
  if ARGV[7] == '1' and name ~= ':end' then
    redis.call('HSETNX', KEYS[1], 'a:' .. name, 1)
  end
  local entry = redis.call('XADD', KEYS[2], '*', 'run', known[5], 'node', name)
  redis.call('HSET', KEYS[1], 's:' .. name, 'ready', 'e:' .. name, entry)
  ready = ready + 1
end

local function release(children)
  for child in string.gmatch(children or '', '[^\n]+') do
    if redis.call('HINCRBY', KEYS[1], 'w:' .. child, -1) == 0 and redis.call('HGET', KEYS[1], 's:' .. child) == 'waiting' then
      enqueue(child)
    end
  end
end

redis.call('HSET', KEYS[1], 's:' .. node, 'completed', 't:' .. node, ms, 'r:' .. node, ARGV[6])
redis.call('HDEL', KEYS[1], 'e:' .. node, 'x:' .. node, 'k:' .. node)
if known[8] and known[8] ~= '' then
  redis.call('ZREM', KEYS[5], known[8] .. '\n' .. known[5] .. '\n' .. node)
end
if adds > 0 then
  for child in string.gmatch(known[6] or '', '[^\n]+') do
    redis.call('HINCRBY', KEYS[1], 'w:' .. child, adds)
  end
  local names = {}
  for i = 10 + skips, 9 + skips + 3 * adds, 3 do
    local name = ARGV[i]
    names[#names + 1] = name
    redis.call('HSET', KEYS[1], 'm:' .. name, ARGV[i + 1], 'w:' .. name, 0, 's:' .. name, 'waiting')
    if ARGV[i + 2] ~= '' then
      redis.call('HSET', KEYS[1], 'c:' .. name, ARGV[i + 2])
    end
    if going then
      enqueue(name)
    end
  end
  local lines = '\n' .. known[7] .. '\n'
  local _, last = string.find(lines, '\n' .. node .. '\n', 1, true)
  lines = string.sub(lines, 1, last) .. table.concat(names, '\n') .. string.sub(lines, last)
  redis.call('HSET', KEYS[1], 'nodes', string.sub(lines, 2, -2))
end
for i = 10, 9 + skips do
  redis.call('HSET', KEYS[1], 's:' .. ARGV[i], 'skipped', 'r:' .. ARGV[i], '', 't:' .. ARGV[i], ms)
end
if going then
  for i = 10, 9 + skips do
    release(redis.call('HGET', KEYS[1], 'c:' .. ARGV[i]))
  end
  release(known[6])
end
local active = redis.call('HINCRBY', KEYS[1], 'active', ready - 1)
local rest = redis.call('HMGET', KEYS[1], 'asleep', 'paused')
if active == 0 then
  enqueue(':end')
elseif going and active == tonumber(rest[1] or '0') and rest[2] ~= '1' then
  redis.call('DEL', KEYS[1])
  redis.call('SADD', KEYS[4], known[5])
end
redis.call('XACK', KEYS[2], ARGV[1], ARGV[4])
redis.call('XDEL', KEYS[2], ARGV[4])
return 'done'
