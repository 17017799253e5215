-- SPDX-License-Identifier: Apache-2.0
-- Make due members ready, each once, whoever else tries.
-- KEYS: delayed, stream, parked, run of each member...    ARGV: (run, node)...
local count = 0
for i = 4, #KEYS do
  local at = 2 * i - 7
  local run, node = ARGV[at], ARGV[at + 1]
  if redis.call('ZREM', KEYS[1], run .. '\n' .. node) == 1 then
    local known = redis.call('HMGET', KEYS[i], 's:' .. node)
    local told = node == ':start' or node == ':order' or node == ':deadline'
    if told or (not known[1] and redis.call('SISMEMBER', KEYS[3], run) == 1) then
      -- Of a parked run, too: who takes the entry puts the run back as history has it.
      redis.call('XADD', KEYS[2], '*', 'run', run, 'node', node)
    elseif known[1] == 'retrying' or known[1] == 'sleeping' then
      if known[1] == 'sleeping' then
        redis.call('HINCRBY', KEYS[i], 'asleep', -1)
      end
      local entry = redis.call('XADD', KEYS[2], '*', 'run', run, 'node', node)
      redis.call('HSET', KEYS[i], 's:' .. node, 'ready', 'e:' .. node, entry)
    end
    count = count + 1
  end
end
return count
