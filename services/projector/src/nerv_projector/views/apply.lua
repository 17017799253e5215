-- SPDX-License-Identifier: Apache-2.0
-- Write the views of one batch and the cursors that cover them; everything is checked before anything is written.
-- KEYS: epoch, cursors, index, counts, view...
-- ARGV: token, number of moves, (partition, cursor seen, cursor, folded)..., keys newly parked,
--       where in its key a view's name begins, view...
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'replaced'
end
local moves = tonumber(ARGV[2])
local at = 3
for _ = 1, moves do
  if redis.call('HGET', KEYS[2], ARGV[at]) ~= ARGV[at + 1] then
    return 'moved'
  end
  at = at + 4
end
at = 3
local folded = 0
for _ = 1, moves do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 2])
  folded = folded + tonumber(ARGV[at + 3])
  at = at + 4
end
if folded > 0 then
  redis.call('HINCRBY', KEYS[4], 'folded', folded)
end
if ARGV[at] ~= '0' then
  redis.call('HINCRBY', KEYS[4], 'parked', ARGV[at])
end
at = at + 1
local begins = tonumber(ARGV[at])
local names = {}
for i = 5, #KEYS do
  if redis.call('SET', KEYS[i], ARGV[at + i - 4], 'GET') == false then
    names[#names + 1] = 0
    names[#names + 1] = string.sub(KEYS[i], begins)
  end
end
-- As many at a time as fit on Lua's stack.
for i = 1, #names, 1000 do
  redis.call('ZADD', KEYS[3], unpack(names, i, math.min(i + 999, #names)))
end
return 'done'
