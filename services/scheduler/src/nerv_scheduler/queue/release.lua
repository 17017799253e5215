-- SPDX-License-Identifier: Apache-2.0
-- An attempt is given back: the node gets a new entry, which anyone takes at once.
-- KEYS: run, stream    ARGV: group, epoch, attempt, entry, node
local node = ARGV[5]
local known = redis.call('HMGET', KEYS[1], 'epoch', 'a:' .. node, 's:' .. node, 'run', 'e:' .. node)
if known[1] ~= ARGV[2] or known[2] ~= ARGV[3] then
  return 'lost'
end
if known[3] == 'ready' and known[5] ~= ARGV[4] then
  return 'done'
end
if known[3] ~= 'running' then
  return 'lost'
end
local entry = redis.call('XADD', KEYS[2], '*', 'run', known[4], 'node', node)
redis.call('HSET', KEYS[1], 's:' .. node, 'ready', 'e:' .. node, entry)
redis.call('XACK', KEYS[2], ARGV[1], ARGV[4])
redis.call('XDEL', KEYS[2], ARGV[4])
return 'done'
