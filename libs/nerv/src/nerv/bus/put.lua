-- SPDX-License-Identifier: Apache-2.0
-- Add events to a stream, all or none.
-- KEYS: stream.    ARGV: how many entries it may hold, event...    Answers its length, or -1 when it is full.
local length = redis.call('XLEN', KEYS[1])
if length + #ARGV - 1 > tonumber(ARGV[1]) then
  return -1
end
for index = 2, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'event', ARGV[index])
end
return length + #ARGV - 1
