-- SPDX-License-Identifier: Apache-2.0
-- Change records and their head together, only on the head that was seen.
-- KEYS: hash. ARGV: 1 if there was a head, the head seen, the new head, number of puts, (name, data)..., names to remove
-- Answers 1 when it is done, also by an earlier try of the same write; 0 when the head is another one.
local held = redis.call('HGET', KEYS[1], 'h')
if held == ARGV[3] then
  return 1
end
if (ARGV[1] == '1' and held ~= ARGV[2]) or (ARGV[1] == '0' and held) then
  return 0
end
-- As many at a time as fit on Lua's stack.
local last = 4 + 2 * tonumber(ARGV[4])
for i = 5, last, 2000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 1999, last)))
end
for i = last + 1, #ARGV, 2000 do
  redis.call('HDEL', KEYS[1], unpack(ARGV, i, math.min(i + 1999, #ARGV)))
end
redis.call('HSET', KEYS[1], 'h', ARGV[3])
return 1
