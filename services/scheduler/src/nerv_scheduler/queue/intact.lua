-- SPDX-License-Identifier: Apache-2.0
-- Nothing is missing, unless the witness is: then something was lost while the runs were put back.
-- KEYS: stream    ARGV: witness (empty: none), lease (ms)
if ARGV[1] ~= '' and redis.call('ZREM', DELAYED, ARGV[1]) == 0 then
  return 0
end
if not intact() then
  redis.call('SET', BASE .. ':admitting', text(now() + tonumber(ARGV[2])))
end
redis.call('ZADD', DELAYED, text(mark()), ':intact')
return 1
