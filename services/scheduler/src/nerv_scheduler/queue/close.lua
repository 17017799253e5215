-- SPDX-License-Identifier: Apache-2.0
-- The run has ended; what is known of it stays for a while. Whoever closes it has read how it ended in history.
-- KEYS: stream    ARGV: run, nonce, entry, status, result, error, keep (s)
local run, entry = ARGV[1], ARGV[3]
local key = run_key(run)
local known = redis.call('HMGET', key, 'n::end', 's::end')
if known[1] ~= ARGV[2] then
  return 'lost'
end
if known[2] == 'completed' then
  return 'done'
end
if known[2] ~= 'running' then
  return 'lost'
end
redis.call('HSET', key, 'status', ARGV[4], 'ended', text(now()), 'result', ARGV[5], 'error', ARGV[6],
  's::end', 'completed')
redis.call('HDEL', key, 'e::end')
redis.call('ZREM', DELAYED, run .. '\n:deadline')
redis.call('EXPIRE', key, ARGV[7])
acknowledge(entry)
return 'done'
