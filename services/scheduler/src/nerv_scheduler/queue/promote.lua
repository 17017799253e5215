-- SPDX-License-Identifier: Apache-2.0
-- Make due members ready, each once, whoever else tries.
-- KEYS: delayed, stream, run of each member...    ARGV: (run, node)...
local count = 0
for i = 3, #KEYS do
  local at = 2 * i - 5
  local run, node = ARGV[at], ARGV[at + 1]
  if redis.call('ZREM', KEYS[1], run .. '\n' .. node) == 1 then
    if node == ':start' or node == ':order' then
      redis.call('XADD', KEYS[2], '*', 'run', run, 'node', node)
    elseif redis.call('HGET', KEYS[i], 's:' .. node) == 'retrying' then
      local entry = redis.call('XADD', KEYS[2], '*', 'run', run, 'node', node)
      redis.call('HSET', KEYS[i], 's:' .. node, 'ready', 'e:' .. node, entry)
    end
    count = count + 1
  end
end
return count
