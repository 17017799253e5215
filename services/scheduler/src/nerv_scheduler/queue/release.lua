-- SPDX-License-Identifier: Apache-2.0
-- An attempt is given back: the node gets a new entry, which anyone takes at once.
-- KEYS: stream    ARGV: run, nonce, entry, node
local run, entry, node = ARGV[1], ARGV[3], ARGV[4]
local key = run_key(run)
local known = redis.call('HMGET', key, 'n:' .. node, 's:' .. node, 'e:' .. node)
if known[1] ~= ARGV[2] then
  return 'lost'
end
if known[2] == 'ready' and known[3] ~= entry then
  return 'done'
end
if known[2] ~= 'running' then
  return 'lost'
end
leave(key, run, node)
enqueue(key, run, node)
acknowledge(entry)
return 'done'
