-- SPDX-License-Identifier: Apache-2.0
-- A node that decides what is done is completed: nodes are skipped, others are added. Checks first, writes last.
-- KEYS: stream
-- ARGV: run, nonce, entry, node, result, suspect (0/1), how many are skipped, how many are added, skipped...,
--       (node, message, children (lines), level (empty: the run's))...
local run, node = ARGV[1], ARGV[4]
local key = run_key(run)
local known = redis.call('HMGET', key, 'n:' .. node, 's:' .. node, 'status', 'c:' .. node, 'nodes', 'k:' .. node, 'round')
if known[1] ~= ARGV[2] then
  return 'lost'
end
if known[2] == 'completed' then
  return 'done'
end
if known[2] ~= 'running' then
  return 'lost'
end
local ms = text(now())
local going = known[3] == 'running'
local skips, adds = tonumber(ARGV[7]), tonumber(ARGV[8])
local FIRST, FIELDS = 9, 4
local ready = 0

local function begin(name)
  if ARGV[6] == '1' then
    redis.call('HSETNX', key, 'a:' .. name, 1)
  end
  enqueue(key, run, name)
  ready = ready + 1
end

local function release(children)
  for child in string.gmatch(children or '', '[^\n]+') do
    if redis.call('HINCRBY', key, 'w:' .. child, -1) == 0 and redis.call('HGET', key, 's:' .. child) == 'waiting' then
      begin(child)
    end
  end
end

redis.call('HSET', key, 's:' .. node, 'completed', 't:' .. node, ms, 'r:' .. node, ARGV[5])
redis.call('HDEL', key, 'e:' .. node, 'x:' .. node, 'k:' .. node)
if known[6] and known[6] ~= '' then
  redis.call('ZREM', AWAITED, found_by(known[6], run, node, known[7]))
end
if adds > 0 then
  for child in string.gmatch(known[4] or '', '[^\n]+') do
    redis.call('HINCRBY', key, 'w:' .. child, adds)
  end
  local names = {}
  for i = FIRST + skips, FIRST - 1 + skips + FIELDS * adds, FIELDS do
    local name = ARGV[i]
    names[#names + 1] = name
    redis.call('HSET', key, 'm:' .. name, ARGV[i + 1], 'w:' .. name, 0, 's:' .. name, 'waiting')
    if ARGV[i + 2] ~= '' then
      redis.call('HSET', key, 'c:' .. name, ARGV[i + 2])
    end
    if ARGV[i + 3] ~= '' then
      redis.call('HSET', key, 'p:' .. name, ARGV[i + 3])
    end
    if going then
      begin(name)
    end
  end
  local lines = '\n' .. known[5] .. '\n'
  local _, last = string.find(lines, '\n' .. node .. '\n', 1, true)
  lines = string.sub(lines, 1, last) .. table.concat(names, '\n') .. string.sub(lines, last)
  redis.call('HSET', key, 'nodes', string.sub(lines, 2, -2))
end
for i = FIRST, FIRST - 1 + skips do
  redis.call('HSET', key, 's:' .. ARGV[i], 'skipped', 'r:' .. ARGV[i], '', 't:' .. ARGV[i], ms)
end
if going then
  for i = FIRST, FIRST - 1 + skips do
    release(redis.call('HGET', key, 'c:' .. ARGV[i]))
  end
  release(known[4])
end
settled(key, run, ready - 1)
acknowledge(ARGV[3])
return 'done'
