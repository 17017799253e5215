-- SPDX-License-Identifier: Apache-2.0
-- A page of who is to be found by some keys; nothing while the queue may have lost some.
-- KEYS: stream    ARGV: most of a page, (first, end) of each key...
if not intact() then
  return false
end
local found = {}
for i = 2, #ARGV, 2 do
  found[#found + 1] = redis.call('ZRANGEBYLEX', AWAITED, ARGV[i], ARGV[i + 1], 'LIMIT', 0, ARGV[1])
end
return found
