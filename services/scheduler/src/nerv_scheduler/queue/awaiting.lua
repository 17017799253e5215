-- SPDX-License-Identifier: Apache-2.0
-- A page of who is to be found by some keys; nothing while the queue may have lost some.
-- KEYS: delayed, awaited    ARGV: most of a page, (first, end) of each key...
if not redis.call('ZSCORE', KEYS[1], ':intact') then
  return false
end
local found = {}
for i = 2, #ARGV, 2 do
  found[#found + 1] = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[i], ARGV[i + 1], 'LIMIT', 0, ARGV[1])
end
return found
