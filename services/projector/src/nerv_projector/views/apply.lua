-- SPDX-License-Identifier: Apache-2.0
-- Write the views of one batch, what they are found by, and the cursors that cover them; everything is checked before anything is
-- written.
-- KEYS: epoch, cursors, keys, counts, index, view...
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
local names, gone, come, size = {}, {}, {}, 0
for i = 6, #KEYS do
  local view = ARGV[at + i - 5]
  local old = redis.call('SET', KEYS[i], view, 'GET')
  size = size + #view
  if old then
    size = size - #old
  else
    names[#names + 1] = 0
    names[#names + 1] = string.sub(KEYS[i], begins)
  end
  local was, is = line(old), line(view)
  if was ~= is then
    local name = '\1' .. string.sub(KEYS[i], begins)
    local before, after = entries(was), entries(is)
    for entry in pairs(before) do
      if not after[entry] then
        gone[#gone + 1] = entry .. name
      end
    end
    for entry in pairs(after) do
      if not before[entry] then
        come[#come + 1] = 0
        come[#come + 1] = entry .. name
      end
    end
  end
end
together('ZADD', KEYS[3], names)
together('ZREM', KEYS[5], gone)
together('ZADD', KEYS[5], come)
if size ~= 0 then
  redis.call('HINCRBY', KEYS[4], 'size', size)
end
return 'done'
