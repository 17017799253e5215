-- SPDX-License-Identifier: Apache-2.0
-- Drop consumers that are idle and hold nothing, and the backlogs that they told of. In one script, for deleting one that holds an entry would lose the entry.
-- KEYS: stream, backlogs    ARGV: group, idle (ms)
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then
  return 0
end
local count = 0
for _, consumer in ipairs(consumers) do
  local fields = {}
  for i = 1, #consumer, 2 do
    fields[consumer[i]] = consumer[i + 1]
  end
  if fields['pending'] == 0 and fields['idle'] >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], fields['name'])
    redis.call('HDEL', KEYS[2], fields['name'])
    redis.call('DEL', KEYS[2] .. ':' .. fields['name'])
    count = count + 1
  end
end
return count
