-- SPDX-License-Identifier: Apache-2.0
-- How much waits: {entries that nobody has taken, entries that somebody has, age of the oldest not taken (ms), due later}.
-- KEYS: stream, delayed    ARGV: group
local length = redis.call('XLEN', KEYS[1])
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
local later = redis.call('ZCARD', KEYS[2]) - (redis.call('ZSCORE', KEYS[2], ':intact') and 1 or 0)
if groups.err then
  return { length, 0, 0, later }
end
local last, pending = '0-0', 0
for _, group in ipairs(groups) do
  local fields = {}
  for i = 1, #group, 2 do
    fields[group[i]] = group[i + 1]
  end
  if fields['name'] == ARGV[1] then
    last, pending = fields['last-delivered-id'], fields['pending']
  end
end
local first = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)
local age = 0
if #first > 0 then
  local now = redis.call('TIME')
  local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
  age = math.max(0, ms - tonumber(string.match(first[1][1], '^%d+')))
end
return { length - pending, pending, age, later }
