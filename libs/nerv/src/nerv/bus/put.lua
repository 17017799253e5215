-- SPDX-License-Identifier: Apache-2.0
-- Add events to a stream, all or none, but for those that came from their source before: a repeat adds nothing twice.
-- KEYS: stream, source...    ARGV: how many entries it may hold, seconds to remember a source, then for each event the index
-- of its source, its number there (they rise) and the event.    Answers how many were added, or -1 when the stream is full.
local last, new = {}, {}
for at = 3, #ARGV, 3 do
  local source, number = tonumber(ARGV[at]) + 1, tonumber(ARGV[at + 1])
  if last[source] == nil then
    last[source] = tonumber(redis.call('GET', KEYS[source]) or '-1')
  end
  if number > last[source] then
    last[source] = number
    new[#new + 1] = ARGV[at + 2]
  end
end
if redis.call('XLEN', KEYS[1]) + #new > tonumber(ARGV[1]) then
  return -1
end
for _, event in ipairs(new) do
  redis.call('XADD', KEYS[1], '*', 'event', event)
end
for source, number in pairs(last) do
  redis.call('SET', KEYS[source], string.format('%.0f', number), 'EX', ARGV[2])
end
return #new
