-- SPDX-License-Identifier: Apache-2.0
-- How much waits: {entries that nobody has taken, entries that somebody has, age of the oldest not taken (ms), due later}.
-- KEYS: stream
local ready, taken, age, ms = 0, 0, 0, now()

local function group_of(stream)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  for _, group in ipairs(groups.err and {} or groups) do
    local fields = {}
    for i = 1, #group, 2 do
      fields[group[i]] = group[i + 1]
    end
    if fields['name'] == GROUP then
      return fields['last-delivered-id'], fields['pending']
    end
  end
  return '0-0', 0
end

for _, suffix in pairs(LEVELS) do
  local stream = BASE .. suffix
  local last, pending = group_of(stream)
  ready, taken = ready + redis.call('XLEN', stream) - pending, taken + pending
  local first = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)
  if #first > 0 then
    age = math.max(age, ms - tonumber(string.match(first[1][1], '^%d+')))
  end
end
local later = redis.call('ZCARD', DELAYED) - (redis.call('ZSCORE', DELAYED, ':intact') and 1 or 0)
return { ready, taken, age, later }
