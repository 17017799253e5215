-- SPDX-License-Identifier: Apache-2.0
-- Many nodes are done, each with those of its chain: write what they returned, make ready what waited for them, and
-- acknowledge. Each stands for itself: its token is looked at first, and nothing of it is written when that is old.
-- KEYS: stream, parked, run of each...
-- ARGV: group, (epoch, attempt, entry, node, suspect (0/1), result, length of the chain,
--       (node, result, began, ended (ms)) of the chain...)...
local now = redis.call('TIME')
local ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
local answers, at = {}, 2

local function enqueue(key, run, name)
  local entry = redis.call('XADD', KEYS[1], '*', 'run', run, 'node', name)
  redis.call('HSET', key, 's:' .. name, 'ready', 'e:' .. name, entry)
end

-- Write the chain; answers its last node, whose children are next.
local function follow(key, node, count, from, owner)
  for i = 0, count - 1 do
    local f = from + 4 * i
    node = ARGV[f]
    redis.call('HSET', key, 's:' .. node, 'completed', 'a:' .. node, 1, 'w:' .. node, 0, 'r:' .. node, ARGV[f + 1],
      'b:' .. node, ARGV[f + 2], 't:' .. node, ARGV[f + 3], 'o:' .. node, owner)
  end
  return node
end

local function release(key, run, node, suspect)
  local ready = 0
  for child in string.gmatch(redis.call('HGET', key, 'c:' .. node) or '', '[^\n]+') do
    local left = redis.call('HINCRBY', key, 'w:' .. child, -1)
    if left == 0 and redis.call('HGET', key, 's:' .. child) == 'waiting' then
      if suspect then
        redis.call('HSETNX', key, 'a:' .. child, 1)
      end
      enqueue(key, run, child)
      ready = ready + 1
    end
  end
  return ready
end

local function complete(key)
  local entry, node, count = ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 6])
  local known = redis.call('HMGET', key, 'epoch', 'a:' .. node, 's:' .. node, 'status', 'run', 'o:' .. node)
  if known[1] ~= ARGV[at] or known[2] ~= ARGV[at + 1] then
    return 'lost'
  end
  if known[3] == 'completed' then
    return 'done'
  end
  if known[3] ~= 'running' then
    return 'lost'
  end
  redis.call('HSET', key, 's:' .. node, 'completed', 't:' .. node, ms, 'r:' .. node, ARGV[at + 5])
  redis.call('HDEL', key, 'e:' .. node, 'x:' .. node)
  local last = follow(key, node, count, at + 7, known[6])
  local ready = known[4] == 'running' and release(key, known[5], last, ARGV[at + 4] == '1') or 0
  local active = redis.call('HINCRBY', key, 'active', ready - 1)
  local rest = redis.call('HMGET', key, 'asleep', 'paused')
  if active == 0 then
    enqueue(key, known[5], ':end')
  elseif known[4] == 'running' and active == tonumber(rest[1] or '0') and rest[2] ~= '1' then
    -- All that is left sleeps: what wakes it is kept, and history has the rest.
    redis.call('DEL', key)
    redis.call('SADD', KEYS[2], known[5])
  end
  redis.call('XACK', KEYS[1], ARGV[1], entry)
  redis.call('XDEL', KEYS[1], entry)
  return 'done'
end

for i = 3, #KEYS do
  answers[i - 2] = complete(KEYS[i])
  at = at + 7 + 4 * tonumber(ARGV[at + 6])
end
return answers
