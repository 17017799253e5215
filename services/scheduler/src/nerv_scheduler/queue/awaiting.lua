-- SPDX-License-Identifier: Apache-2.0
-- Who is to be found by some keys; nothing while the queue may have lost some.
-- KEYS: delayed, awaited    ARGV: most of a key, key...
if not redis.call('ZSCORE', KEYS[1], ':intact') then
  return false
end
local found = {}
for i = 2, #ARGV do
  found[i - 1] = redis.call('ZRANGEBYLEX', KEYS[2], '[' .. ARGV[i] .. '\n', '(' .. ARGV[i] .. '\v', 'LIMIT', 0, ARGV[1])
end
return found
