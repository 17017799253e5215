-- SPDX-License-Identifier: Apache-2.0
-- Remove records, only under the head that was seen.
-- KEYS: hash. ARGV: 1 if there was a head, the head seen, names
local held = redis.call('HGET', KEYS[1], 'h')
if (ARGV[1] == '1' and held ~= ARGV[2]) or (ARGV[1] == '0' and held) then
  return 0
end
for i = 3, #ARGV, 2000 do
  redis.call('HDEL', KEYS[1], unpack(ARGV, i, math.min(i + 1999, #ARGV)))
end
return 1
