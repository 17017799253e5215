-- SPDX-License-Identifier: Apache-2.0
-- A node wants a place under a concurrency key. Without one it is given up until it has one; that was no attempt.
-- Who held a place when the queue was lost may work on for a lease: until then nobody is let in.
-- KEYS: stream    ARGV: run, nonce, entry, node, name of the key, places under it
local AHEAD = { h = 0, n = 1e13, l = 2e13 } -- ms: what is urgent goes first, among equals who came first
local run, entry, node, name, most = ARGV[1], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local key, member = run_key(run), run .. '\n' .. node
local known = redis.call('HMGET', key, 'n:' .. node, 's:' .. node, 'a:' .. node)
if known[1] ~= ARGV[2] then
  return 'lost'
end
if known[2] == 'limited' then
  return 'waits'
end
if known[2] ~= 'running' then
  return 'lost'
end

-- A place is held by a node that is on its way; others are left over of runs that the queue has lost.
local function room()
  if redis.call('SCARD', holders(name)) < most then
    return true
  end
  for _, one in ipairs(redis.call('SMEMBERS', holders(name))) do
    local of, other = string.match(one, '^(.*)\n(.*)$')
    local found = redis.call('HMGET', run_key(of), 'g:' .. other, 's:' .. other)
    local theirs = string.match(found[1] or '', '^%d+ (.*)$')
    if theirs ~= name or (found[2] ~= 'running' and found[2] ~= 'ready') then
      redis.call('SREM', holders(name), one)
    end
  end
  return redis.call('SCARD', holders(name)) < most
end

local ms = now()
local from = intact() and tonumber(redis.call('GET', BASE .. ':admitting') or ms) or ms + 250
local mine = redis.call('SISMEMBER', holders(name), member) == 1
if from <= ms and (mine or room()) then
  redis.call('SADD', holders(name), member)
  redis.call('ZREM', waiters(name), member)
  redis.call('HSET', key, 'g:' .. node, most .. ' ' .. name)
  return 'in'
end
if mine then
  redis.call('SREM', holders(name), member)
end
local level = redis.call('HMGET', key, 'p:' .. node, 'priority')
redis.call('ZADD', waiters(name), text(ms + AHEAD[level[1] or level[2] or 'n']), member)
if from > ms then
  redis.call('ZADD', DELAYED, text(from), member)
end
redis.call('HSET', key, 's:' .. node, 'limited', 'g:' .. node, most .. ' ' .. name, 'a:' .. node, tonumber(known[3]) - 1)
if known[3] == '1' then
  redis.call('HDEL', key, 'a:' .. node)
end
redis.call('HDEL', key, 'e:' .. node)
acknowledge(entry)
return 'waits'
