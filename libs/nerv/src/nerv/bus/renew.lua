-- SPDX-License-Identifier: Apache-2.0
-- Entries that their reader still holds: to claim one's own resets how long it has been idle, and counts as no delivery.
-- KEYS: stream.    ARGV: group, reader, entry...
local words = { 'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0 }
for index = 3, #ARGV do
  words[#words + 1] = ARGV[index]
end
words[#words + 1] = 'JUSTID'
return redis.call(unpack(words))
