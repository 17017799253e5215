-- SPDX-License-Identifier: Apache-2.0
-- The run has ended; what is known of it stays for a while.
-- KEYS: run, stream, delayed    ARGV: group, epoch, attempt, entry, status, result, error, keep (s)
local known = redis.call('HMGET', KEYS[1], 'epoch', 'a::end', 's::end', 'run')
if known[1] ~= ARGV[2] or known[2] ~= ARGV[3] then
  return 'lost'
end
if known[3] == 'completed' then
  return 'done'
end
if known[3] ~= 'running' then
  return 'lost'
end
local now = redis.call('TIME')
local ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
redis.call('HSET', KEYS[1], 'status', ARGV[5], 'ended', ms, 'result', ARGV[6], 'error', ARGV[7], 's::end', 'completed')
redis.call('HDEL', KEYS[1], 'e::end')
redis.call('ZREM', KEYS[3], known[4] .. '\n:deadline')
redis.call('EXPIRE', KEYS[1], ARGV[8])
redis.call('XACK', KEYS[2], ARGV[1], ARGV[4])
redis.call('XDEL', KEYS[2], ARGV[4])
return 'done'
