-- SPDX-License-Identifier: Apache-2.0
-- Nothing is missing, unless the witness is: then something was lost while the runs were put back.
-- KEYS: delayed    ARGV: witness (empty: none), mark
if ARGV[1] ~= '' and redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then
  return 0
end
redis.call('ZADD', KEYS[1], '+inf', ARGV[2])
return 1
