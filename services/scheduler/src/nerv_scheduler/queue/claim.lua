-- SPDX-License-Identifier: Apache-2.0
-- Give each delivered entry a new attempt token, or say why there is nothing to do for it.
-- KEYS: stream, run of each entry...    ARGV: group, worker, most nodes of a chain, (entry, run, node)...
-- Answers for each: {'claimed', epoch, attempt, message, failures, losses, run status,
-- round, (node, message of its chain)...}, {'orphan'} or {'stale'}.
local now = redis.call('TIME')
local ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
local answers = {}

local function discard(entry)
  redis.call('XACK', KEYS[1], ARGV[1], entry)
  redis.call('XDEL', KEYS[1], entry)
end

local function settle(key, run)
  if redis.call('HINCRBY', key, 'active', -1) == 0 then
    local entry = redis.call('XADD', KEYS[1], '*', 'run', run, 'node', ':end')
    redis.call('HSET', key, 's::end', 'ready', 'e::end', entry)
  end
end

-- Nodes each of which waits for the one before it and nothing else.
local function follow(key, node, answer)
  for _ = 1, tonumber(ARGV[3]) do
    local child = redis.call('HGET', key, 'c:' .. node)
    if not child or string.find(child, '\n', 1, true) then
      return
    end
    local known = redis.call('HMGET', key, 'w:' .. child, 's:' .. child, 'a:' .. child, 'm:' .. child)
    if known[1] ~= '1' or known[2] ~= 'waiting' or known[3] then
      return
    end
    answer[#answer + 1], answer[#answer + 2] = child, known[4]
    node = child
  end
end

local function claim(key, entry, run, node)
  if node == ':order' or node == ':deadline' or redis.call('EXISTS', key) == 0 then
    return { 'orphan' }
  end
  local known = redis.call('HMGET', key, 'e:' .. node, 's:' .. node, 'a:' .. node, 'status', 'epoch', 'm:' .. node,
    'paused', 'round')
  if known[1] ~= entry or (known[2] ~= 'ready' and known[2] ~= 'running') then
    discard(entry)
    return { 'stale' }
  end
  local attempt = tonumber(known[3] or '0') + 1
  if known[4] ~= 'running' and attempt == 1 and node ~= ':end' then
    discard(entry)
    redis.call('HSET', key, 's:' .. node, 'cancelled', 't:' .. node, ms)
    settle(key, run)
    return { 'stale' }
  end
  if known[2] == 'running' then
    redis.call('HINCRBY', key, 'l:' .. node, 1)
  end
  if known[7] == '1' and known[4] == 'running' and node ~= ':end' then
    discard(entry)
    redis.call('HSET', key, 's:' .. node, 'held')
    redis.call('HDEL', key, 'e:' .. node)
    return { 'stale' }
  end
  redis.call('HSET', key, 's:' .. node, 'running', 'a:' .. node, attempt, 'b:' .. node, ms, 'o:' .. node, ARGV[2])
  local counts = redis.call('HMGET', key, 'f:' .. node, 'l:' .. node)
  local answer = { 'claimed', known[5], attempt, known[6], counts[1] or '0', counts[2] or '0', known[4], known[8] }
  if known[4] == 'running' and node ~= ':end' then
    follow(key, node, answer)
  end
  return answer
end

for i = 2, #KEYS do
  local at = 3 * (i - 1) + 1
  answers[i - 1] = claim(KEYS[i], ARGV[at], ARGV[at + 1], ARGV[at + 2])
end
return answers
