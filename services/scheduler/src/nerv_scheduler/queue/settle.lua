-- SPDX-License-Identifier: Apache-2.0
-- A node is not completed, for good: write why, and acknowledge the entry. Checks first, writes last.
-- KEYS: stream
-- ARGV: run, nonce, epoch (empty: what is told was read in history), entry, node, verdict (failed, cancelled), error
local run, node, verdict = ARGV[1], ARGV[5], ARGV[6]
local key = run_key(run)
local known = redis.call('HMGET', key, 'n:' .. node, 's:' .. node, 'status', 'k:' .. node, 'round', 'epoch', 'server')
if known[1] ~= ARGV[2] then
  return 'lost'
end
if known[2] == verdict then
  return 'done'
end
if known[2] ~= 'running' or not believed(ARGV[3], known[6], known[7]) then
  return 'lost'
end
redis.call('HSET', key, 's:' .. node, verdict, 't:' .. node, text(now()), 'x:' .. node, ARGV[7])
redis.call('HDEL', key, 'e:' .. node)
leave(key, run, node)
if verdict == 'failed' and known[3] == 'running' then
  redis.call('HSET', key, 'status', 'failing')
  -- What a pause or a concurrency key holds back, or what sleeps, goes on, to be given up.
  for name in string.gmatch(redis.call('HGET', key, 'nodes'), '[^\n]+') do
    local status = redis.call('HGET', key, 's:' .. name)
    if status == 'held' or status == 'sleeping' or status == 'limited' then
      redis.call('ZREM', DELAYED, run .. '\n' .. name)
      leave(key, run, name)
      enqueue(key, run, name)
    end
  end
  redis.call('HSET', key, 'asleep', 0)
end
if known[4] and known[4] ~= '' then
  redis.call('ZREM', AWAITED, found_by(known[4], run, node, known[5]))
end
settled(key, run, -1)
acknowledge(ARGV[4])
return 'done'
