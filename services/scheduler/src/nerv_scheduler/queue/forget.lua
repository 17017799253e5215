-- SPDX-License-Identifier: Apache-2.0
-- Drop consumers that are idle and hold nothing, and the backlogs that they told of. In one script, for deleting one that holds
-- an entry would lose the entry.    KEYS: stream    ARGV: idle (ms)
local busy, idle = {}, {}
for _, suffix in pairs(LEVELS) do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', BASE .. suffix, GROUP)
  for _, consumer in ipairs(consumers.err and {} or consumers) do
    local fields = {}
    for i = 1, #consumer, 2 do
      fields[consumer[i]] = consumer[i + 1]
    end
    if fields['pending'] == 0 and fields['idle'] >= tonumber(ARGV[1]) then
      redis.call('XGROUP', 'DELCONSUMER', BASE .. suffix, GROUP, fields['name'])
      idle[fields['name']] = true
    else
      busy[fields['name']] = true
    end
  end
end
local count = 0
for name in pairs(idle) do
  if not busy[name] then
    redis.call('HDEL', BACKLOGS, name)
    redis.call('DEL', BACKLOGS .. ':' .. name)
    count = count + 1
  end
end
return count
