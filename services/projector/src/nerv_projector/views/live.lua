-- SPDX-License-Identifier: Apache-2.0
-- Keep which version is live, unless a later decision is kept already.
-- KEYS: live    ARGV: Kafka's id of the control topic, offset of the decision, version
local kept = redis.call('HMGET', KEYS[1], 'topic', 'offset')
if kept[1] == ARGV[1] and tonumber(kept[2]) > tonumber(ARGV[2]) then
  return 'later'
end
redis.call('HSET', KEYS[1], 'topic', ARGV[1], 'offset', ARGV[2], 'version', ARGV[3])
return 'kept'
