-- SPDX-License-Identifier: Apache-2.0
-- Many nodes are done, each with those of its chain: write what they returned, make ready what waited for them, and
-- acknowledge. Each stands for itself: its token is looked at first, and nothing of it is written when that is old.
-- KEYS: stream
-- ARGV: (run, nonce, epoch (empty: what is told was read in history), entry, node, suspect (0/1), result,
--       length of the chain, (node, result, began, ended (ms)) of the chain...)...
local ms = text(now())
local FIELDS, AT_ONCE = 8, 1000

-- Runs, each with what is the same for all of its nodes, and how many more of them are under way in the end.
local runs, seen = {}, {}
local function of(run)
  if not runs[run] then
    local key = run_key(run)
    local known = redis.call('HMGET', key, 'status', 'epoch', 'server')
    runs[run] = { key = key, going = known[1] == 'running', epoch = known[2], server = known[3], more = 0 }
    seen[#seen + 1] = run
  end
  return runs[run]
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

local function release(key, run, children, suspect)
  local ready = 0
  for child in string.gmatch(children or '', '[^\n]+') do
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

-- Entries by stream: thousands of nodes are acknowledged by two calls.
local entries = {}
local function note(entry)
  local stream, id = place(entry)
  entries[stream] = entries[stream] or {}
  table.insert(entries[stream], id)
end

local function complete(at)
  local run, node, count = ARGV[at], ARGV[at + 4], tonumber(ARGV[at + 7])
  local its = of(run)
  local key = its.key
  local known = redis.call('HMGET', key, 'n:' .. node, 's:' .. node, 'o:' .. node, 'g:' .. node, 'c:' .. node)
  if known[1] ~= ARGV[at + 1] then
    return 'lost'
  end
  if known[2] == 'completed' then
    return 'done'
  end
  if known[2] ~= 'running' or not believed(ARGV[at + 2], its.epoch, its.server) then
    return 'lost'
  end
  redis.call('HSET', key, 's:' .. node, 'completed', 't:' .. node, ms, 'r:' .. node, ARGV[at + 6])
  redis.call('HDEL', key, 'e:' .. node, 'x:' .. node)
  if known[4] then
    leave(key, run, node)
  end
  local children = known[5]
  if count > 0 then
    children = redis.call('HGET', key, 'c:' .. follow(key, node, count, at + FIELDS, known[3]))
  end
  its.more = its.more - 1 + (its.going and release(key, run, children, ARGV[at + 5] == '1') or 0)
  its.settles = true
  note(ARGV[at + 3])
  return 'done'
end

local answers, at = {}, 1
while at <= #ARGV do
  answers[#answers + 1] = complete(at)
  at = at + FIELDS + 4 * tonumber(ARGV[at + 7])
end
for stream, ids in pairs(entries) do
  for first = 1, #ids, AT_ONCE do
    local last = math.min(#ids, first + AT_ONCE - 1)
    redis.call('XACK', stream, GROUP, unpack(ids, first, last))
    redis.call('XDEL', stream, unpack(ids, first, last))
  end
end
for _, run in ipairs(seen) do
  if runs[run].settles then
    settled(runs[run].key, run, runs[run].more)
  end
end
return answers
