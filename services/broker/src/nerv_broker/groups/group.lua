-- SPDX-License-Identifier: Apache-2.0
-- All that is done to the Redis side of a group. One file, for its operations share what an entry is.
-- KEYS: base    ARGV: operation, and what it takes (see the functions `take` ... `show`)
--
-- Every key begins with base, whose hash tag puts all of a group in one slot:
--   :members  sorted set, by when they were last seen      :since  sorted set, by when they joined
--   :lanes    hash lane -> member (by key)                 :ready:<lane>  sorted set of entries, first come first served
--   :seq      counter that orders ready and doomed ones    :past   sorted set of what was settled lately, for repeats
-- and of a partition P, where an entry is `P:offset`, or `P:offset:r` for a dead letter that is replayed:
--   :at:P     hash epoch (who dispatches), life (of these keys: none survives in part), next (offset to dispatch)
--   :log:P    stream of what is not settled, id <offset>-1 (0-0 is no id), field r (record)      :again:P  the same of replays, hash
--   :info:P   hash entry -> lane \t scope (partition's key, '' for none)           :tries:P  hash entry -> attempts
--   :tail:P   hash scope -> its last entry     :behind:P  hash entry -> the one that waits for it
--   :lease:P  sorted set of those in hand      :delay:P   of those to be tried again      :doom:P  of those given up
--   :why:P    hash entry -> verb \n cause      :done:P    sorted set of replays that were processed
--   :spared:P hash entry -> deliveries that were given back, and are no attempts
--
-- An entry of a scope is ready when all before it in the scope are settled, and settled when it is acknowledged, or stands in
-- the dead letters. Offsets are exact up to 2^53. Each operation checks first and then writes.
local B = KEYS[1]
local OF_PARTITION = {
  'at', 'log', 'again', 'info', 'tries', 'tail', 'behind', 'lease', 'delay', 'doom', 'why', 'done',
  'spared',
}
local MEMBERS = 1000 -- at a time
local REMEMBERED = 10000 -- settled entries whose repeated acknowledgement is known for one
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function key(name, p)
  return B .. ':' .. name .. ':' .. p
end

local function parse(id)
  local p, offset, replay = string.match(id, '^(%d+):(%d+)(:?r?)$')
  return p, offset, replay == ':r'
end

local function seq()
  return redis.call('INCR', B .. ':seq')
end

local function make_ready(p, id)
  local lane = string.match(redis.call('HGET', key('info', p), id) or '', '^(.-)\t')
  if lane then
    redis.call('ZADD', B .. ':ready:' .. lane, seq(), id)
  end
end

local function record_of(p, id)
  local _, offset, replay = parse(id)
  if replay then
    return redis.call('HGET', key('again', p), offset)
  end
  local found = redis.call('XRANGE', key('log', p), offset .. '-1', offset .. '-1')
  return found[1] and found[1][2][2]
end

-- Put an entry behind the last one of its scope, or make it ready.
local function link(p, id, scope, lane)
  redis.call('HSET', key('info', p), id, lane .. '\t' .. scope)
  if scope ~= '' then
    local last = redis.call('HGET', key('tail', p), scope)
    redis.call('HSET', key('tail', p), scope, id)
    if last then
      redis.call('HSET', key('behind', p), last, id)
      return
    end
  end
  make_ready(p, id)
end

local function let_go(p, id)
  redis.call('ZREM', key('lease', p), id)
  redis.call('ZREM', key('delay', p), id)
end

local function doom(p, id, verb, cause)
  let_go(p, id)
  redis.call('HSET', key('why', p), id, verb .. '\n' .. cause)
  redis.call('ZADD', key('doom', p), seq(), id)
end

-- An entry is settled: forget it, and go on with the one behind it, which is given up where the scope is parked.
local function settle(p, id, parked)
  local lane, scope = string.match(redis.call('HGET', key('info', p), id) or '\t', '^(.-)\t(.*)$')
  let_go(p, id)
  redis.call('ZREM', key('doom', p), id)
  redis.call('HDEL', key('why', p), id)
  redis.call('HDEL', key('info', p), id)
  redis.call('HDEL', key('tries', p), id)
  redis.call('HDEL', key('spared', p), id)
  redis.call('ZREM', B .. ':ready:' .. lane, id)
  local _, offset, replay = parse(id)
  if replay then
    redis.call('HDEL', key('again', p), offset)
  else
    redis.call('XDEL', key('log', p), offset .. '-1')
  end
  local behind = redis.call('HGET', key('behind', p), id)
  if behind then
    redis.call('HDEL', key('behind', p), id)
    if parked then
      doom(p, behind, 'held', 'behind ' .. id)
    else
      make_ready(p, behind)
    end
  elseif scope ~= '' and redis.call('HGET', key('tail', p), scope) == id then
    redis.call('HDEL', key('tail', p), scope)
  end
end

local function fail(p, id, attempt, most, wait, cause)
  if attempt - tonumber(redis.call('HGET', key('spared', p), id) or '0') >= most then
    doom(p, id, 'park', cause)
  else
    let_go(p, id)
    redis.call('HSET', key('why', p), id, 'retry\n' .. cause)
    redis.call('ZADD', key('delay', p), now + wait, id)
  end
end

local function back_off(attempt, first, longest)
  return math.min(first * 2 ^ math.min(attempt - 1, 30), longest)
end

-- Who may go on with a partition: 'ok', 'lost' (Redis has lost it), or 'fenced' (another dispatches it).
local function standing(p, epoch)
  local known = redis.call('HGET', key('at', p), 'epoch')
  return not known and 'lost' or known ~= epoch and 'fenced' or 'ok'
end

local function floor_of(p)
  local first = redis.call('XRANGE', key('log', p), '-', '+', 'COUNT', 1)
  return first[1] and string.match(first[1][1], '^%d+') or redis.call('HGET', key('at', p), 'next')
end

-- partition, epoch, position, life -> whether all is new, next. From here on any other epoch is fenced. What is behind the position
-- is an older state of Redis, and worth nothing.
local function take(p, epoch, position, life)
  local next_ = redis.call('HGET', key('at', p), 'next')
  local fresh = not next_ or tonumber(next_) < tonumber(position)
  if fresh then
    for _, name in ipairs(OF_PARTITION) do
      redis.call('UNLINK', key(name, p))
    end
    redis.call('HSET', key('at', p), 'next', position, 'life', life)
  end
  redis.call('HSET', key('at', p), 'epoch', epoch)
  return { fresh and 1 or 0, fresh and position or next_ }
end

-- partition, epoch, from, to, window, (offset, scope, lane, record)... -> standing, next. Takes as many as the window has room for;
-- those before `next` were taken before.
local function dispatch(p, epoch, from, to, window, ...)
  local entries = { ... }
  local state = standing(p, epoch)
  if state ~= 'ok' then
    return { state, '0' }
  end
  local next_ = tonumber(redis.call('HGET', key('at', p), 'next'))
  if tonumber(from) > next_ then
    return { 'gap', string.format('%.0f', next_) }
  end
  local room = tonumber(window) - redis.call('XLEN', key('log', p))
  local reached = math.max(next_, tonumber(to))
  for i = 1, #entries, 4 do
    if tonumber(entries[i]) >= next_ then
      if room <= 0 then
        reached = tonumber(entries[i])
        break
      end
      room = room - 1
      redis.call('XADD', key('log', p), entries[i] .. '-1', 'r', entries[i + 3])
      link(p, p .. ':' .. entries[i], entries[i + 1], entries[i + 2])
    end
  end
  local answer = string.format('%.0f', reached)
  redis.call('HSET', key('at', p), 'next', answer)
  return { 'ok', answer }
end

-- partition, epoch, window, (offset, scope, lane, record)... -> standing, how many were taken, or were there.
local function replay(p, epoch, window, ...)
  local entries = { ... }
  local state = standing(p, epoch)
  if state ~= 'ok' then
    return { state, 0 }
  end
  local room = tonumber(window) - redis.call('HLEN', key('again', p))
  for i = 1, #entries, 4 do
    local id = p .. ':' .. entries[i] .. ':r'
    local known = redis.call('HEXISTS', key('again', p), entries[i]) == 1 or redis.call('ZSCORE', key('done', p), id)
    if not known then
      if room <= 0 then
        return { 'ok', (i - 1) / 4 }
      end
      room = room - 1
      redis.call('HSET', key('again', p), entries[i], entries[i + 3])
      link(p, id, entries[i + 1], entries[i + 2])
    end
  end
  return { 'ok', #entries / 4 }
end

-- partition, epoch, limit, most attempts, first and longest pause (ms) -> standing, next, floor, (entry, attempts, verb \n cause, record)
-- of those given up and those behind them, processed replays. Makes ready what is due, and takes back what nobody renewed.
local function tick(p, epoch, limit, most, first, longest)
  local state = standing(p, epoch)
  if state ~= 'ok' then
    return { state }
  end
  limit = tonumber(limit)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('delay', p), '-inf', now, 'LIMIT', 0, limit)) do
    redis.call('ZREM', key('delay', p), id)
    make_ready(p, id)
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('lease', p), '-inf', now, 'LIMIT', 0, limit)) do
    local attempt = tonumber(redis.call('HGET', key('tries', p), id))
    fail(p, id, attempt, tonumber(most), back_off(attempt, tonumber(first), tonumber(longest)), 'the lease ended')
  end
  local doomed, seen = {}, {}
  local function tell(id)
    seen[id] = true
    local why = redis.call('HGET', key('why', p), id) or 'held\nbehind one that was given up'
    local tries = redis.call('HGET', key('tries', p), id) or '0'
    doomed[#doomed + 1] = { id, tries, why, record_of(p, id) or '' }
    return string.sub(why, 1, 4) ~= 'skip'
  end
  for _, id in ipairs(redis.call('ZRANGE', key('doom', p), 0, limit - 1)) do
    local at = id
    while at and not seen[at] and #doomed < limit and tell(at) do
      at = redis.call('HGET', key('behind', p), at)
    end
  end
  local done = redis.call('ZRANGE', key('done', p), 0, limit - 1)
  return { 'ok', redis.call('HGET', key('at', p), 'next'), floor_of(p), doomed, done }
end

-- partition, epoch, (entry, verb)... -> standing. They stand in the dead letters, or are passed over.
local function give_up(p, epoch, ...)
  local entries = { ... }
  local state = standing(p, epoch)
  if state == 'ok' then
    for i = 1, #entries, 2 do
      settle(p, entries[i], entries[i + 1] ~= 'skip')
    end
  end
  return { state }
end

-- partition, epoch, entry... -> standing. It is recorded that these replays were processed.
local function resolved(p, epoch, ...)
  local state = standing(p, epoch)
  if state == 'ok' then
    redis.call('ZREM', key('done', p), ...)
  end
  return { state }
end

-- Lanes are spread over the members, and as few as can be change hands.
local function spread(members, lanes)
  local most, owned, free = math.ceil(lanes / #members), {}, {}
  for _, name in ipairs(members) do
    owned[name] = 0
  end
  for lane = 0, lanes - 1 do
    local name = redis.call('HGET', B .. ':lanes', lane)
    if name and owned[name] and owned[name] < most then
      owned[name] = owned[name] + 1
    else
      free[#free + 1] = lane
    end
  end
  for _, lane in ipairs(free) do
    local least = members[1]
    for _, name in ipairs(members) do
      if owned[name] < owned[least] then
        least = name
      end
    end
    owned[least] = owned[least] + 1
    redis.call('HSET', B .. ':lanes', lane, least)
  end
end

-- Forget members that have been silent for too long, some at a time; whether there were any.
local function forget_silent(patience)
  local silent = redis.call('ZRANGEBYSCORE', B .. ':members', '-inf', now - patience, 'LIMIT', 0, 100)
  for _, name in ipairs(silent) do
    redis.call('ZREM', B .. ':members', name)
    redis.call('ZREM', B .. ':since', name)
  end
  return #silent > 0
end

-- Note that a member is there, if there is room for it, and who is not.
local function see(member, patience, strategy, lanes)
  local changed = forget_silent(patience)
  local known = redis.call('ZSCORE', B .. ':members', member)
  if not known and redis.call('ZCARD', B .. ':members') >= MEMBERS then
    return false
  end
  redis.call('ZADD', B .. ':members', now, member)
  redis.call('ZADD', B .. ':since', 'NX', now, member)
  changed = changed or not known
  if strategy == 'by-key' and (changed or redis.call('EXISTS', B .. ':lanes') == 0) then
    spread(redis.call('ZRANGE', B .. ':members', 0, -1), lanes)
  end
  return true
end

local function lanes_of(member, strategy, lanes)
  if strategy == 'single' and redis.call('ZRANGE', B .. ':since', 0, 0)[1] ~= member then
    return {}
  end
  if strategy ~= 'by-key' then
    return { 0 }
  end
  local mine = {}
  for i = 0, lanes - 1 do
    local lane = (i + now) % lanes -- another one is served first each time
    if redis.call('HGET', B .. ':lanes', lane) == member then
      mine[#mine + 1] = lane
    end
  end
  return mine
end

local function hand_out(p, id, lease, found)
  local record = redis.call('HEXISTS', key('info', p), id) == 1 and record_of(p, id)
  if not record then
    return 0 -- of keys that were lost
  end
  local attempt = redis.call('HINCRBY', key('tries', p), id, 1)
  redis.call('ZADD', key('lease', p), now + lease, id)
  found[#found + 1] = { id, redis.call('HGET', key('at', p), 'life'), attempt, record }
  return #record
end

-- member, limit, bytes, lease (ms), patience with silent members (ms), strategy, lanes -> (entry, life, attempt, record)..., or 'full'.
local function fetch(member, limit, bytes, lease, patience, strategy, lanes)
  if not see(member, tonumber(patience), strategy, tonumber(lanes)) then
    return 'full'
  end
  local found, left = {}, tonumber(bytes)
  for _, lane in ipairs(lanes_of(member, strategy, tonumber(lanes))) do
    while #found < tonumber(limit) and left > 0 do
      local id = redis.call('ZPOPMIN', B .. ':ready:' .. lane)[1]
      if not id then
        break
      end
      left = left - hand_out((parse(id)), id, tonumber(lease), found)
    end
  end
  return found
end

local function verdict(p, id, attempt, verb, wait, cause, given)
  if verb == 'renew' then
    redis.call('ZADD', key('lease', p), now + tonumber(given.lease), id)
  elseif verb == 'ack' then
    local _, _, again = parse(id)
    settle(p, id, false)
    if again then
      redis.call('ZADD', key('done', p), now, id)
    end
  elseif verb == 'release' then
    let_go(p, id)
    redis.call('HINCRBY', key('spared', p), id, 1)
    make_ready(p, id)
  elseif verb == 'retry' then
    local pause = back_off(attempt, tonumber(given.first), tonumber(given.longest))
    fail(p, id, attempt, tonumber(given.most), wait ~= '' and tonumber(wait) or pause, cause)
  else
    doom(p, id, verb, cause)
  end
end

-- lease (ms), most attempts, first and longest pause (ms), (entry, life, attempt, verb, wait, cause)... -> 'done' or 'lost' for each. Only
-- who has the entry in hand settles it; one who repeats himself is told the same again.
local function conclude(lease, most, first, longest, ...)
  local given = { lease = lease, most = most, first = first, longest = longest }
  local verdicts, answers = { ... }, {}
  for i = 1, #verdicts, 6 do
    local id, life, attempt, verb = verdicts[i], verdicts[i + 1], verdicts[i + 2], verdicts[i + 3]
    local p = parse(id)
    local token = id .. '/' .. life .. '/' .. attempt .. '/' .. verb
    local held = redis.call('HGET', key('at', p), 'life') == life
      and redis.call('HGET', key('tries', p), id) == attempt
      and redis.call('ZSCORE', key('lease', p), id)
    if held then
      verdict(p, id, tonumber(attempt), verb, verdicts[i + 4], verdicts[i + 5], given)
      if verb ~= 'renew' then
        redis.call('ZADD', B .. ':past', now, token)
      end
      answers[#answers + 1] = 'done'
    else
      answers[#answers + 1] = redis.call('ZSCORE', B .. ':past', token) and 'done' or 'lost'
    end
  end
  redis.call('ZREMRANGEBYRANK', B .. ':past', 0, -1 - REMEMBERED)
  return answers
end

-- (entry, life, attempt)... -> 1 for each that is still in the hand of who has this token.
local function in_hand(...)
  local tokens, answers = { ... }, {}
  for i = 1, #tokens, 3 do
    local p = parse(tokens[i])
    local held = redis.call('HGET', key('at', p), 'life') == tokens[i + 1]
      and redis.call('HGET', key('tries', p), tokens[i]) == tokens[i + 2]
      and redis.call('ZSCORE', key('lease', p), tokens[i])
    answers[#answers + 1] = held and 1 or 0
  end
  return answers
end

-- member -> whether it was one. What it has in hand goes back when its leases end.
local function leave(member, strategy, lanes)
  redis.call('ZREM', B .. ':since', member)
  local gone = redis.call('ZREM', B .. ':members', member)
  local rest = redis.call('ZRANGE', B .. ':members', 0, -1)
  if gone == 1 and strategy == 'by-key' and #rest > 0 then
    spread(rest, tonumber(lanes))
  end
  return gone
end

-- partition... -> members with when they were last seen (ms), and of each partition: next, floor, unsettled, in hand, delayed,
-- given up, replaying; the clock (ms).
local function show(...)
  local found = {}
  for _, p in ipairs({ ... }) do
    local next_ = redis.call('HGET', key('at', p), 'next')
    if next_ then
      found[#found + 1] = {
        p, next_, floor_of(p), redis.call('XLEN', key('log', p)), redis.call('ZCARD', key('lease', p)),
        redis.call('ZCARD', key('delay', p)), redis.call('ZCARD', key('doom', p)), redis.call('HLEN', key('again', p)),
      }
    end
  end
  return { redis.call('ZRANGE', B .. ':members', 0, -1, 'WITHSCORES'), found, now }
end

-- lanes, partition...: nothing is left of the group.
local function remove(lanes, ...)
  for _, p in ipairs({ ... }) do
    for _, name in ipairs(OF_PARTITION) do
      redis.call('UNLINK', key(name, p))
    end
  end
  for lane = 0, tonumber(lanes) - 1 do
    redis.call('UNLINK', B .. ':ready:' .. lane)
  end
  return redis.call('UNLINK', B .. ':members', B .. ':since', B .. ':lanes', B .. ':seq', B .. ':past')
end

local operations = {
  take = take, dispatch = dispatch, replay = replay, tick = tick, give_up = give_up, resolved = resolved,
  fetch = fetch, conclude = conclude, in_hand = in_hand, leave = leave, show = show, remove = remove,
}
return operations[ARGV[1]](unpack(ARGV, 2))
