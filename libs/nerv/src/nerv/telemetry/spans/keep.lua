-- SPDX-License-Identifier: Apache-2.0
-- Keep spans, and let go of the oldest traces until all bounds hold again. Answers how many spans were too many for their trace.
--
-- KEYS  begun, ended, failed, sizes (sorted sets by trace), total (how many spans), the beginning of the keys of traces
-- ARGV  now (us), seconds to keep, most spans, most traces, most spans of a trace, then for each trace:
--       id, begun (us), ended (us), 1 if failed, how many spans, and name and document of each
local begun, ended, failed, sizes, total, trace = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local now, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local most, most_traces, most_of_trace = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local refused, at = 0, 6

while at <= #ARGV do
  local id, count = ARGV[at], tonumber(ARGV[at + 4])
  local room = math.min(count, most_of_trace - tonumber(redis.call('ZSCORE', sizes, id) or 0))
  if room > 0 then
    local key = trace .. id
    local added = redis.call('HSET', key, unpack(ARGV, at + 5, at + 4 + 2 * room))
    redis.call('EXPIRE', key, 2 * seconds)
    redis.call('ZADD', begun, 'LT', ARGV[at + 1], id)
    redis.call('ZADD', ended, 'GT', ARGV[at + 2], id)
    if ARGV[at + 3] == '1' then redis.call('ZADD', failed, 'GT', ARGV[at + 2], id) end
    redis.call('ZINCRBY', sizes, added, id)
    redis.call('INCRBY', total, added)
  end
  refused = refused + count - math.max(room, 0)
  at = at + 5 + 2 * count
end

while true do
  local oldest = redis.call('ZRANGE', ended, 0, 0, 'WITHSCORES')
  if #oldest == 0 then break end
  local over = tonumber(redis.call('GET', total) or 0) > most or redis.call('ZCARD', ended) > most_traces
  if not over and tonumber(oldest[2]) >= now - seconds * 1000000 then break end
  local id = oldest[1]
  redis.call('DECRBY', total, redis.call('ZSCORE', sizes, id) or 0)
  redis.call('UNLINK', trace .. id)
  for _, key in ipairs({begun, ended, failed, sizes}) do redis.call('ZREM', key, id) end
end

for at = 1, 5 do redis.call('EXPIRE', KEYS[at], 2 * seconds) end
return refused
