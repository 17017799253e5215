-- SPDX-License-Identifier: Apache-2.0
-- Forget an entry whose run was looked up; one that the run still names goes to whoever comes first.
-- KEYS: stream    ARGV: entry, run, node
local key = run_key(ARGV[2])
local known = redis.call('HMGET', key, 'e:' .. ARGV[3], 's:' .. ARGV[3])
acknowledge(ARGV[1])
if known[1] == ARGV[1] and (known[2] == 'ready' or known[2] == 'running') then
  enqueue(key, ARGV[2], ARGV[3])
end
return 1
