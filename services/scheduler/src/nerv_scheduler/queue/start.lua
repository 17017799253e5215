-- SPDX-License-Identifier: Apache-2.0
-- Put a run in, or have the one that is there follow newer orders; everything is looked at before anything is written.
-- KEYS: run, stream, delayed, runs of the workflow, parked, awaited
-- ARGV: epoch, run, workflow, status, started (ms), end message, restore (0/1), runs remembered, names of the nodes (lines),
--       orders, paused (0/1), round, deadline (ms),
--       (node, message, waits, children (lines), status, result, error, attempts, failures, began, ended, due (ms), key)...
local FIELDS = 13
local first = 14
local intent = ARGV[2] .. '\n:start'

local function sound()
  -- Whether every node that is on its way has its entry. XRANGE finds it in the stream, taken or not.
  local function found(node, due)
    local status = redis.call('HGET', KEYS[1], 's:' .. node)
    if status == 'ready' or status == 'running' then
      local entry = redis.call('HGET', KEYS[1], 'e:' .. node)
      return entry and #redis.call('XRANGE', KEYS[2], entry, entry) == 1
    end
    if status == 'retrying' or (status == 'sleeping' and due ~= '0') then
      return redis.call('ZSCORE', KEYS[3], ARGV[2] .. '\n' .. node)
    end
    return true
  end
  for i = first, #ARGV, FIELDS do
    if not found(ARGV[i], ARGV[i + 11]) then
      return false
    end
  end
  return found(':end', '0')
end

local function enqueue(node)
  local entry = redis.call('XADD', KEYS[2], '*', 'run', ARGV[2], 'node', node)
  redis.call('HSET', KEYS[1], 's:' .. node, 'ready', 'e:' .. node, entry)
end

local known = redis.call('HMGET', KEYS[1], 'round', 'orders', 'status', 'paused')
local round, orders = tonumber(known[1] or '-1'), tonumber(known[2] or '-1')
local goes_on = known[3] == 'running' or known[3] == 'failing' or known[3] == 'cancelling'

local function listen(i)
  -- A node is found by its key until it has its verdict: one that was woken may be put to sleep again.
  local member = ARGV[i + 12] .. '\n' .. ARGV[2] .. '\n' .. ARGV[i]
  if ARGV[i + 12] ~= '' and (ARGV[i + 4] == 'sleeping' or ARGV[i + 4] == 'ready') then
    redis.call('ZADD', KEYS[6], 0, member)
  elseif ARGV[i + 12] ~= '' then
    redis.call('ZREM', KEYS[6], member)
  end
  if ARGV[i + 11] ~= '0' and ARGV[i + 4] ~= 'sleeping' then
    redis.call('ZREM', KEYS[3], ARGV[2] .. '\n' .. ARGV[i])
  end
end

local function obey()
  local cancel = ARGV[4] == 'cancelling'
  redis.call('HSET', KEYS[1], 'orders', ARGV[10], 'paused', ARGV[11])
  if cancel then
    redis.call('HSET', KEYS[1], 'status', 'cancelling')
  end
  for i = first, #ARGV, FIELDS do
    local status = redis.call('HGET', KEYS[1], 's:' .. ARGV[i])
    if status == 'held' and (ARGV[11] == '0' or cancel) then
      enqueue(ARGV[i])
    elseif status == 'retrying' and cancel then
      redis.call('ZREM', KEYS[3], ARGV[2] .. '\n' .. ARGV[i])
      enqueue(ARGV[i])
    elseif status == 'sleeping' and (ARGV[i + 4] ~= 'sleeping' or cancel) then
      redis.call('ZREM', KEYS[3], ARGV[2] .. '\n' .. ARGV[i])
      redis.call('HINCRBY', KEYS[1], 'asleep', -1)
      listen(i)
      enqueue(ARGV[i])
    end
  end
end

if ARGV[13] ~= '0' and (goes_on or round < tonumber(ARGV[12])) then
  redis.call('ZADD', KEYS[3], ARGV[13], ARGV[2] .. '\n:deadline')
end
if round > tonumber(ARGV[12]) or (round == tonumber(ARGV[12]) and (ARGV[7] == '0' or sound())) then
  if round == tonumber(ARGV[12]) and goes_on and orders < tonumber(ARGV[10]) then
    obey()
  end
  redis.call('ZREM', KEYS[3], intent)
  return 'exists'
end
if round >= 0 and ARGV[7] == '0' then
  return 'exists'
end

local sleeping, awake = 0, 0
for i = first, #ARGV, FIELDS do
  listen(i)
  if ARGV[i + 4] == 'sleeping' then
    sleeping = sleeping + 1
    if ARGV[i + 11] ~= '0' then
      redis.call('ZADD', KEYS[3], ARGV[i + 11], ARGV[2] .. '\n' .. ARGV[i])
    end
  elseif ARGV[i + 4] == 'ready' then
    awake = awake + 1
  end
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[3], intent)
if sleeping > 0 and awake == 0 and ARGV[11] == '0' and orders <= tonumber(ARGV[10]) then
  redis.call('ZADD', KEYS[4], ARGV[5], ARGV[2])
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - tonumber(ARGV[8]))
  return redis.call('SADD', KEYS[5], ARGV[2]) == 1 and 'started' or 'exists'
end
redis.call('SREM', KEYS[5], ARGV[2])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'run', ARGV[2], 'workflow', ARGV[3], 'status', ARGV[4],
  'started', ARGV[5], 'm::end', ARGV[6], 'nodes', ARGV[9], 'orders', ARGV[10], 'paused', ARGV[11], 'round', ARGV[12])
if orders > tonumber(ARGV[10]) then
  -- The plan was made before the latest order.
  redis.call('HSET', KEYS[1], 'status', known[3], 'orders', known[2], 'paused', known[4])
end
redis.call('HSET', KEYS[1], 'asleep', sleeping)
local active = sleeping

for i = first, #ARGV, FIELDS do
  local node, status = ARGV[i], ARGV[i + 4]
  redis.call('HSET', KEYS[1], 'm:' .. node, ARGV[i + 1], 'w:' .. node, ARGV[i + 2], 's:' .. node, status)
  if ARGV[i + 3] ~= '' then
    redis.call('HSET', KEYS[1], 'c:' .. node, ARGV[i + 3])
  end
  if status == 'completed' or status == 'skipped' then
    redis.call('HSET', KEYS[1], 'r:' .. node, ARGV[i + 5])
  end
  if ARGV[i + 6] ~= '' then
    redis.call('HSET', KEYS[1], 'x:' .. node, ARGV[i + 6])
  end
  if ARGV[i + 7] ~= '0' then
    redis.call('HSET', KEYS[1], 'a:' .. node, ARGV[i + 7])
  end
  if ARGV[i + 8] ~= '0' then
    redis.call('HSET', KEYS[1], 'f:' .. node, ARGV[i + 8])
  end
  if ARGV[i + 12] ~= '' then
    redis.call('HSET', KEYS[1], 'k:' .. node, ARGV[i + 12])
  end
  if ARGV[i + 10] ~= '0' then
    redis.call('HSET', KEYS[1], 'b:' .. node, ARGV[i + 9], 't:' .. node, ARGV[i + 10])
  end
  if status == 'ready' then
    active = active + 1
    enqueue(node)
  end
end
redis.call('HSET', KEYS[1], 'active', active)
if active == 0 then
  enqueue(':end')
end
redis.call('ZADD', KEYS[4], ARGV[5], ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - tonumber(ARGV[8]))
return 'started'
