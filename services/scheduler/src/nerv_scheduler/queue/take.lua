-- SPDX-License-Identifier: Apache-2.0
-- Make ready what is due, and claim entries: those given, those whose worker has been silent for a lease, then new ones.
-- Each gets a token that no other attempt has, or it is said why there is nothing to do for it.
-- KEYS: stream
-- ARGV: worker, most entries, most nodes of a chain, lease (ms; 0: the silent are not looked for), levels in their order,
--       nonce, most that is made ready, least ms of another's backlog that is told of (empty: none is),
--       (entry, run, node) that are given...
-- Answers {intact (0/1), now (ms), whether there is nothing but in such a backlog (0/1), {'claimed', entry, run, node, epoch, attempt, message, failures, losses, run status, round,
-- (node, message of its chain)...} or {'orphan', entry, run, node}...}. A stream or group that is gone is made anew, not intact.
local worker, most, longest, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local nonce = ARGV[6]
local ms, here = now(), server()
local answers = { intact() and 1 or 0, text(ms), 0 }
local entries = {}

local function wake(member)
  redis.call('ZREM', DELAYED, member)
  local run, node = string.match(member, '^(.*)\n(.*)$')
  local key = run_key(run)
  local status = redis.call('HGET', key, 's:' .. node)
  if node == ':start' or node == ':order' or node == ':deadline'
    or (not status and redis.call('SISMEMBER', PARKED, run) == 1) then
    -- Of a parked run, too: who takes the entry puts the run back as history has it.
    add('n', run, node)
  elseif status == 'retrying' or status == 'sleeping' or status == 'limited' then
    if status == 'sleeping' then
      redis.call('HINCRBY', key, 'asleep', -1)
    end
    enqueue(key, run, node)
  end
end

local function note(level, found)
  for _, one in ipairs(found) do
    if one and one[2] then
      entries[#entries + 1] = { level .. one[1], one[2][2], one[2][4] }
    end
  end
end

-- Answers false when the group is gone.
local function read(level)
  local stream = BASE .. LEVELS[level]
  local cursor = '0-0'
  while lease ~= '0' and #entries < most do
    local found = redis.pcall('XAUTOCLAIM', stream, GROUP, worker, lease, cursor, 'COUNT', most - #entries)
    if found.err then
      return false
    end
    note(level, found[2])
    cursor = found[1]
    if cursor == '0-0' then
      break
    end
  end
  if #entries < most then
    local found = redis.pcall('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', most - #entries, 'STREAMS', stream, '>')
    if found and found.err then
      return false
    end
    note(level, found and found[1][2] or {})
  end
  return true
end

-- Nodes each of which waits for the one before it and nothing else; `child` are those that wait for the first.
local function follow(key, child, answer)
  for _ = 1, longest do
    if not child or string.find(child, '\n', 1, true) then
      return
    end
    local known = redis.call('HMGET', key, 'w:' .. child, 's:' .. child, 'a:' .. child, 'm:' .. child, 'c:' .. child)
    if known[1] ~= '1' or known[2] ~= 'waiting' or known[3] then
      return
    end
    answer[#answer + 1], answer[#answer + 2] = child, known[4]
    child = known[5]
  end
end

-- What is the same for all nodes of a run; nothing here changes it.
local runs = {}
local function of(key)
  if not runs[key] then
    local known = redis.call('HMGET', key, 'status', 'epoch', 'paused', 'round', 'server')
    runs[key] = { status = known[1], epoch = known[2], paused = known[3], round = known[4], server = known[5] }
  end
  return runs[key]
end

local function claim(entry, run, node)
  local key = run_key(run)
  local its = of(key)
  if node == ':order' or node == ':deadline' or its.server ~= here then
    return { 'orphan', entry, run, node }
  end
  local known = redis.call('HMGET', key, 'e:' .. node, 's:' .. node, 'a:' .. node, 'm:' .. node, 'f:' .. node,
    'l:' .. node, 'c:' .. node)
  local losses = known[6] or '0'
  if known[1] ~= entry or (known[2] ~= 'ready' and known[2] ~= 'running') then
    acknowledge(entry)
    return
  end
  local attempt, going = tonumber(known[3] or '0') + 1, its.status == 'running' and node ~= ':end'
  if its.status ~= 'running' and attempt == 1 and node ~= ':end' then
    acknowledge(entry)
    redis.call('HSET', key, 's:' .. node, 'cancelled', 't:' .. node, text(ms))
    leave(key, run, node)
    if redis.call('HINCRBY', key, 'active', -1) == 0 then
      enqueue(key, run, ':end')
    end
    return
  end
  if known[2] == 'running' then
    losses = text(redis.call('HINCRBY', key, 'l:' .. node, 1))
  end
  if its.paused == '1' and going then
    acknowledge(entry)
    redis.call('HSET', key, 's:' .. node, 'held')
    redis.call('HDEL', key, 'e:' .. node)
    leave(key, run, node)
    return
  end
  redis.call('HSET', key, 's:' .. node, 'running', 'a:' .. node, attempt, 'b:' .. node, text(ms), 'o:' .. node, worker,
    'n:' .. node, nonce)
  local answer = { 'claimed', entry, run, node, its.epoch, attempt, known[4], known[5] or '0', losses, its.status, its.round }
  if going then
    follow(key, known[7], answer)
  end
  return answer
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', DELAYED, '-inf', text(ms), 'LIMIT', 0, ARGV[7])) do
  wake(member)
end
for i = 9, #ARGV, 3 do
  entries[#entries + 1] = { ARGV[i], ARGV[i + 1], ARGV[i + 2] }
end
local whole = true
for level in string.gmatch(most > 0 and ARGV[5] or '', '.') do
  whole = read(level) and whole
end
for _, one in ipairs(entries) do
  answers[#answers + 1] = claim(one[1], one[2], one[3])
end
if not whole then
  redis.call('ZREM', DELAYED, ':intact')
  for _, suffix in pairs(LEVELS) do
    -- From the first entry on, so that none that was written before it is passed over. One that is there stays as it is.
    redis.pcall('XGROUP', 'CREATE', BASE .. suffix, GROUP, '0', 'MKSTREAM')
  end
  answers[1] = 0
end
if #answers == 3 and ARGV[8] ~= '' then
  local all = redis.call('HGETALL', BACKLOGS)
  for i = 1, #all, 2 do
    if all[i] ~= worker and tonumber(all[i + 1]) >= tonumber(ARGV[8]) then
      answers[3] = 1
    end
  end
end
return answers
