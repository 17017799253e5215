-- SPDX-License-Identifier: Apache-2.0
-- Which runs are here, parked or not.    KEYS: stream    ARGV: run...
local found = {}
for i, run in ipairs(ARGV) do
  found[i] = redis.call('EXISTS', run_key(run)) == 1 and 1 or redis.call('SISMEMBER', PARKED, run)
end
return found
