-- SPDX-License-Identifier: Apache-2.0
-- Begin an epoch, if the present one is the one that the caller saw. Answers the token of the present one then.
-- KEYS: epoch, about, cursors    ARGV: new token, token seen or "", about, (partition, cursor)...
local present = redis.call('GET', KEYS[1])
if present and present ~= ARGV[2] then
  return present
end
redis.call('SET', KEYS[2], ARGV[3])
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
