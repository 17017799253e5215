-- SPDX-License-Identifier: Apache-2.0
-- Write the views of one batch, what they are found by, which of them are parked, and the cursors that cover them; everything is
-- checked before anything is written.
-- KEYS: epoch, cursors, keys, counts, index, parked, view...
-- ARGV: token, 1 where views are found by an index, number of moves,
--       (partition, cursor seen, cursor, folded, number of views)...,
--       number of keys that are parked or no longer so, (key, its partition, 1 or 0)...,
--       where in its key a view's name begins, view... in the order of the moves
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'replaced'
end
local moves = tonumber(ARGV[3])
local at = 4
for _ = 1, moves do
  if redis.call('HGET', KEYS[2], ARGV[at]) ~= ARGV[at + 1] then
    return 'moved'
  end
  at = at + 5
end

-- The entries in a view as it is stored: the text of their line, '' where there are none.
local function line(view)
  return view and string.match(view, '^[^\n]*\n[^\n]*\n([^\n]*)') or ''
end

local function entries(text)
  local found = {}
  if text ~= '' then
    for _, entry in ipairs(cjson.decode(text)) do
      found[entry] = true
    end
  end
  return found
end

-- As many at a time as fit on Lua's stack; an even number, for pairs.
local function together(command, key, arguments)
  for i = 1, #arguments, 1000 do
    redis.call(command, key, unpack(arguments, i, math.min(i + 999, #arguments)))
  end
end

local parks = tonumber(ARGV[at])
at = at + 1
for _ = 1, parks do
  local key, counter, change = ARGV[at], 'parked:' .. ARGV[at + 1], 0
  if ARGV[at + 2] == '1' then
    change = redis.call('ZADD', KEYS[6], 0, key)
  else
    change = -redis.call('ZREM', KEYS[6], key)
  end
  if change ~= 0 then
    redis.call('HINCRBY', KEYS[4], counter, change)
  end
  at = at + 3
end

local begins = tonumber(ARGV[at])
local names, gone, come, folded, number = {}, {}, {}, 0, 6
local function write(view)
  number = number + 1
  local old = redis.call('SET', KEYS[number], view, 'GET')
  local name = (not old or ARGV[2] == '1') and string.sub(KEYS[number], begins)
  if not old then
    names[#names + 1] = 0
    names[#names + 1] = name
  end
  if ARGV[2] == '1' then
    local was, is = line(old), line(view)
    if was ~= is then
      local before, after = entries(was), entries(is)
      for entry in pairs(before) do
        if not after[entry] then
          gone[#gone + 1] = entry .. '\1' .. name
        end
      end
      for entry in pairs(after) do
        if not before[entry] then
          come[#come + 1] = 0
          come[#come + 1] = entry .. '\1' .. name
        end
      end
    end
  end
  return #view - (old and #old or 0)
end

local move = 4
for _ = 1, moves do
  local size = 0
  for _ = 1, tonumber(ARGV[move + 4]) do
    at = at + 1
    size = size + write(ARGV[at])
  end
  redis.call('HSET', KEYS[2], ARGV[move], ARGV[move + 2])
  folded = folded + tonumber(ARGV[move + 3])
  if size ~= 0 then
    redis.call('HINCRBY', KEYS[4], 'size:' .. ARGV[move], size)
  end
  move = move + 5
end
if folded > 0 then
  redis.call('HINCRBY', KEYS[4], 'folded', folded)
end
together('ZADD', KEYS[3], names)
together('ZREM', KEYS[5], gone)
together('ZADD', KEYS[5], come)
return 'done'
