-- SPDX-License-Identifier: Apache-2.0
-- What the scripts of the queue share; it stands before each of them. KEYS[1] is the queue's stream; all other keys are named
-- after it and its mesh. An entry is named by its level (h, n, l) and its id in the stream of that level.
local GROUP = 'workers'
local LEVELS = { h = ':high', n = '', l = ':low' }
local BASE = KEYS[1]
local MESH = string.match(BASE, '^(.*):tasks:[^:]+$')
local DELAYED, PARKED, AWAITED, BACKLOGS = BASE .. ':delayed', BASE .. ':parked', BASE .. ':awaited', BASE .. ':backlogs'

local function run_key(run)
  return MESH .. ':run:' .. run
end

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function text(number)
  return string.format('%.0f', number)
end

-- Which server answers. Another one, or this one started anew, may have lost what was written last.
local answering
local function server()
  answering = answering or string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  return answering
end

-- A score that stands for the server, and is later than every instant.
local function mark()
  return 1e15 + tonumber(string.sub(server(), 1, 10), 16)
end

local function intact()
  return tonumber(redis.call('ZSCORE', DELAYED, ':intact') or '0') == mark()
end

local function add(level, run, node)
  return level .. redis.call('XADD', BASE .. LEVELS[level], '*', 'run', run, 'node', node)
end

local function place(entry)
  return BASE .. LEVELS[string.sub(entry, 1, 1)], string.sub(entry, 2)
end

local function acknowledge(entry)
  local stream, id = place(entry)
  redis.call('XACK', stream, GROUP, id)
  redis.call('XDEL', stream, id)
end

local function enqueue(key, run, node)
  local level = redis.call('HMGET', key, 'p:' .. node, 'priority')
  local entry = add(level[1] or level[2] or 'n', run, node)
  redis.call('HSET', key, 's:' .. node, 'ready', 'e:' .. node, entry)
end

-- So many more nodes are under way. Of a run of which all that is left sleeps only what wakes it is kept: history has the rest.
local function settled(key, run, more)
  local active = redis.call('HINCRBY', key, 'active', more)
  local rest = redis.call('HMGET', key, 'asleep', 'paused', 'status')
  if active == 0 then
    enqueue(key, run, ':end')
  elseif rest[3] == 'running' and active == tonumber(rest[1] or '0') and rest[2] ~= '1' then
    redis.call('DEL', key)
    redis.call('SADD', PARKED, run)
  end
end

-- Whether an attempt that has not looked into history since it was recorded may be believed: not when the server may have lost
-- that another attempt came before it. The last two are what the run has.
local function believed(epoch, epoch_there, server_there)
  return epoch == '' or (epoch_there == epoch and server_there == server())
end

local function found_by(key, run, node, round)
  return key .. '\n' .. run .. '\n' .. node .. '\n' .. round
end

-- Places under a concurrency key: who has one is in a set, who waits for one in a sorted set, by priority and when it came.
local function holders(name)
  return BASE .. ':holders:' .. name
end

local function waiters(name)
  return BASE .. ':waiters:' .. name
end

-- Give the places that are free to those who are the most urgent, and of these to who has waited the longest.
local function admit(name, most)
  while redis.call('SCARD', holders(name)) < most do
    local first = redis.call('ZPOPMIN', waiters(name))
    if #first == 0 then
      return
    end
    local run, node = string.match(first[1], '^(.*)\n(.*)$')
    local key = run_key(run)
    if redis.call('HGET', key, 's:' .. node) == 'limited' then
      redis.call('SADD', holders(name), first[1])
      redis.call('ZREM', DELAYED, first[1])
      enqueue(key, run, node)
    end
  end
end

-- A node needs its place no longer.
local function leave(key, run, node)
  local most, name = string.match(redis.call('HGET', key, 'g:' .. node) or '', '^(%d+) (.*)$')
  if not name then
    return
  end
  redis.call('HDEL', key, 'g:' .. node)
  redis.call('SREM', holders(name), run .. '\n' .. node)
  redis.call('ZREM', waiters(name), run .. '\n' .. node)
  admit(name, tonumber(most))
end
