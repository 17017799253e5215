-- SPDX-License-Identifier: Apache-2.0
-- Put a run in, or have the one that is there follow newer orders; everything is looked at before anything is written.
-- KEYS: stream
-- ARGV: epoch, run, workflow, status, started (ms), end message, restore (0/1), runs remembered, names of the nodes (lines),
--       orders, paused (0/1), round, deadline (ms), level,
--       (node, message, waits, children (lines), status, result, error, attempts, failures, began, ended, due (ms), key, level)...
local FIELDS = 14
local FIRST = 15
local run, round = ARGV[2], tonumber(ARGV[12])
local key, listed = run_key(run), MESH .. ':runs:' .. ARGV[3]
local known = redis.call('HMGET', key, 'round', 'orders', 'status', 'paused', 'server', 'nodes')
local round_there, orders_there = tonumber(known[1] or '-1'), tonumber(known[2] or '-1')

local function goes_on(status)
  return status == 'running' or status == 'failing' or status == 'cancelling'
end

local function member(node)
  return run .. '\n' .. node
end

-- Whether every node that is on its way has its entry. XRANGE finds it in the stream, taken or not.
local function sound()
  local function found(node, due)
    local status = redis.call('HGET', key, 's:' .. node)
    if status == 'ready' or status == 'running' then
      local entry = redis.call('HGET', key, 'e:' .. node)
      if not entry then
        return false
      end
      local stream, id = place(entry)
      return #redis.call('XRANGE', stream, id, id) == 1
    end
    if status == 'limited' then
      local name = string.match(redis.call('HGET', key, 'g:' .. node) or '', '^%d+ (.*)$')
      return name and redis.call('ZSCORE', waiters(name), member(node))
    end
    if status == 'retrying' or (status == 'sleeping' and due ~= '0') then
      return redis.call('ZSCORE', DELAYED, member(node))
    end
    return true
  end
  for i = FIRST, #ARGV, FIELDS do
    if not found(ARGV[i], ARGV[i + 11]) then
      return false
    end
  end
  return found(':end', '0')
end

local function listen(i)
  -- A node is found by its key until it has its verdict: one that was woken may be put to sleep again.
  if ARGV[i + 12] ~= '' then
    local who = found_by(ARGV[i + 12], run, ARGV[i], ARGV[12])
    if ARGV[i + 4] == 'sleeping' or ARGV[i + 4] == 'ready' then
      redis.call('ZADD', AWAITED, 0, who)
    else
      redis.call('ZREM', AWAITED, who)
    end
  end
  if ARGV[i + 11] ~= '0' and ARGV[i + 4] ~= 'sleeping' then
    redis.call('ZREM', DELAYED, member(ARGV[i]))
  end
end

local function obey()
  local cancel = ARGV[4] == 'cancelling'
  redis.call('HSET', key, 'orders', ARGV[10], 'paused', ARGV[11])
  if cancel then
    redis.call('HSET', key, 'status', 'cancelling')
  end
  for i = FIRST, #ARGV, FIELDS do
    local node = ARGV[i]
    local status = redis.call('HGET', key, 's:' .. node)
    if status == 'held' and (ARGV[11] == '0' or cancel) then
      enqueue(key, run, node)
    elseif (status == 'retrying' or status == 'limited') and cancel then
      redis.call('ZREM', DELAYED, member(node))
      leave(key, run, node)
      enqueue(key, run, node)
    elseif status == 'sleeping' and (ARGV[i + 4] ~= 'sleeping' or cancel) then
      redis.call('ZREM', DELAYED, member(node))
      redis.call('HINCRBY', key, 'asleep', -1)
      listen(i)
      enqueue(key, run, node)
    end
  end
end

-- The server may have lost what this run came to last: whoever does more of it looks into history first. Who works on it keeps
-- what it holds, and is not believed before he has looked, too.
local function doubt()
  redis.call('HSET', key, 'server', server(), 'epoch', ARGV[1])
  for node in string.gmatch(known[6], '[^\n]+') do
    local status = redis.call('HGET', key, 's:' .. node)
    if status ~= 'completed' and status ~= 'skipped' and status ~= 'failed' and status ~= 'cancelled' then
      redis.call('HSETNX', key, 'a:' .. node, 1)
    end
  end
end

-- What is there of an earlier life leaves its places under concurrency keys.
local function clear()
  for node in string.gmatch(known[6] or '', '[^\n]+') do
    leave(key, run, node)
  end
  redis.call('DEL', key)
end

local function remember()
  redis.call('ZADD', listed, ARGV[5], run)
  redis.call('ZREMRANGEBYRANK', listed, 0, -1 - tonumber(ARGV[8]))
end

if ARGV[13] ~= '0' and goes_on(ARGV[4]) and (goes_on(known[3]) or round_there < round) then
  redis.call('ZADD', DELAYED, ARGV[13], member(':deadline'))
end
local here = round_there == round and (goes_on(ARGV[4]) or not goes_on(known[3]))
if round_there > round or (here and (ARGV[7] == '0' or sound())) then
  if here and goes_on(known[3]) and known[5] ~= server() then
    doubt()
  end
  if here and goes_on(known[3]) and orders_there < tonumber(ARGV[10]) then
    obey()
  end
  redis.call('ZREM', DELAYED, member(':start'))
  return 'exists'
end
if round_there >= 0 and ARGV[7] == '0' then
  return 'exists'
end

local sleeping, awake = 0, 0
for i = FIRST, #ARGV, FIELDS do
  listen(i)
  if ARGV[i + 4] == 'sleeping' then
    sleeping = sleeping + 1
    if ARGV[i + 11] ~= '0' then
      redis.call('ZADD', DELAYED, ARGV[i + 11], member(ARGV[i]))
    end
  elseif ARGV[i + 4] == 'ready' then
    awake = awake + 1
  end
end
clear()
redis.call('ZREM', DELAYED, member(':start'))
if sleeping > 0 and awake == 0 and ARGV[11] == '0' and orders_there <= tonumber(ARGV[10]) then
  remember()
  return redis.call('SADD', PARKED, run) == 1 and 'started' or 'exists'
end
redis.call('SREM', PARKED, run)
redis.call('HSET', key, 'epoch', ARGV[1], 'server', server(), 'run', run, 'workflow', ARGV[3], 'status', ARGV[4],
  'started', ARGV[5], 'm::end', ARGV[6], 'nodes', ARGV[9], 'orders', ARGV[10], 'paused', ARGV[11], 'round', ARGV[12],
  'priority', ARGV[14])
if orders_there > tonumber(ARGV[10]) then
  -- The plan was made before the latest order.
  redis.call('HSET', key, 'status', known[3], 'orders', known[2], 'paused', known[4])
end
redis.call('HSET', key, 'asleep', sleeping)
local active = sleeping

for i = FIRST, #ARGV, FIELDS do
  local node, status = ARGV[i], ARGV[i + 4]
  if status == 'ready' then
    -- As `enqueue` does, in one call instead of three: a run may have thousands of these.
    local entry = add(ARGV[i + 13] ~= '' and ARGV[i + 13] or ARGV[14], run, node)
    redis.call('HSET', key, 'm:' .. node, ARGV[i + 1], 'w:' .. node, ARGV[i + 2], 's:' .. node, status, 'e:' .. node, entry)
    active = active + 1
  else
    redis.call('HSET', key, 'm:' .. node, ARGV[i + 1], 'w:' .. node, ARGV[i + 2], 's:' .. node, status)
  end
  if ARGV[i + 3] ~= '' then
    redis.call('HSET', key, 'c:' .. node, ARGV[i + 3])
  end
  if status == 'completed' or status == 'skipped' then
    redis.call('HSET', key, 'r:' .. node, ARGV[i + 5])
  end
  if ARGV[i + 6] ~= '' then
    redis.call('HSET', key, 'x:' .. node, ARGV[i + 6])
  end
  if ARGV[i + 7] ~= '0' then
    redis.call('HSET', key, 'a:' .. node, ARGV[i + 7])
  end
  if ARGV[i + 8] ~= '0' then
    redis.call('HSET', key, 'f:' .. node, ARGV[i + 8])
  end
  if ARGV[i + 12] ~= '' then
    redis.call('HSET', key, 'k:' .. node, ARGV[i + 12])
  end
  if ARGV[i + 10] ~= '0' then
    redis.call('HSET', key, 'b:' .. node, ARGV[i + 9], 't:' .. node, ARGV[i + 10])
  end
  if ARGV[i + 13] ~= '' then
    redis.call('HSET', key, 'p:' .. node, ARGV[i + 13])
  end
end
redis.call('HSET', key, 'active', active)
if active == 0 then
  enqueue(key, run, ':end')
end
remember()
return 'started'
