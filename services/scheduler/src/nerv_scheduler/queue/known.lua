-- SPDX-License-Identifier: Apache-2.0
-- Which runs are here, parked or not.    KEYS: parked, run...    ARGV: run...
local found = {}
for i = 1, #ARGV do
  found[i] = redis.call('EXISTS', KEYS[i + 1]) == 1 and 1 or redis.call('SISMEMBER', KEYS[1], ARGV[i])
end
return found
