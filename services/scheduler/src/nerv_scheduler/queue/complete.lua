-- SPDX-License-Identifier: Apache-2.0
-- Many nodes are done, each with those of its chain: write what they returned, make ready what waited for them, and
-- acknowledge. Each stands for itself: its token is looked at first, and nothing of it is written when that is old.
-- KEYS: stream
-- ARGV: (run, nonce, epoch (empty: what is told was read in history), entry, node, suspect (0/1), result,
--       length of the chain, (node, result, began, ended (ms)) of the chain...)...
local ms = text(now())
local FIELDS = 8

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

local function complete(at)
  local run, node = ARGV[at], ARGV[at + 4]
  local key = run_key(run)
  local known = redis.call('HMGET', key, 'n:' .. node, 's:' .. node, 'status', 'o:' .. node)
  if known[1] ~= ARGV[at + 1] then
    return 'lost'
  end
  if known[2] == 'completed' then
    return 'done'
  end
  if known[2] ~= 'running' or not believed(key, ARGV[at + 2]) then
    return 'lost'
  end
  redis.call('HSET', key, 's:' .. node, 'completed', 't:' .. node, ms, 'r:' .. node, ARGV[at + 6])
  redis.call('HDEL', key, 'e:' .. node, 'x:' .. node)
  leave(key, run, node)
  local last = follow(key, node, tonumber(ARGV[at + 7]), at + FIELDS, known[4])
  settled(key, run, known[3] == 'running' and release(key, run, last, ARGV[at + 5] == '1') or 0)
  acknowledge(ARGV[at + 3])
  return 'done'
end

local answers, at = {}, 1
while at <= #ARGV do
  answers[#answers + 1] = complete(at)
  at = at + FIELDS + 4 * tonumber(ARGV[at + 7])
end
return answers
