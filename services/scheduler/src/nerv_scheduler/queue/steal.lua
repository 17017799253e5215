-- SPDX-License-Identifier: Apache-2.0
-- Take half of the longest backlog (of an odd number one more) from its end: what its worker has taken and not begun.
-- Each is ready, and the thief's.
-- KEYS: stream    ARGV: thief, least ms that is worth the move
-- Answers (entry, run, node) of each. An item of a backlog is entry, run, node and nonce, by lines.
local thief = ARGV[1]
local victim, longest = nil, tonumber(ARGV[2])
local all = redis.call('HGETALL', BACKLOGS)
for i = 1, #all, 2 do
  if all[i] ~= thief and tonumber(all[i + 1]) >= longest then
    victim, longest = all[i], tonumber(all[i + 1])
  end
end
if not victim then
  return {}
end
local backlog = BACKLOGS .. ':' .. victim
local count = math.ceil(redis.call('LLEN', backlog) / 2)
redis.call('HSET', BACKLOGS, victim, math.floor(longest / 2))
if count == 0 then
  redis.call('HDEL', BACKLOGS, victim)
  return {}
end
local taken = {}
for _, item in ipairs(redis.call('RPOP', backlog, count)) do
  local entry, run, node, nonce = string.match(item, '^(.*)\n(.*)\n(.*)\n(.*)$')
  local key = run_key(run)
  local stream, id = place(entry)
  local known = redis.call('HMGET', key, 'n:' .. node, 's:' .. node)
  -- The list may be of an earlier life of that worker: only what nobody else has taken since may be moved.
  if known[1] == nonce and known[2] == 'running' and #redis.call('XPENDING', stream, GROUP, id, id, 1, victim) > 0 then
    redis.call('XCLAIM', stream, GROUP, thief, 0, id, 'JUSTID')
    redis.call('HSET', key, 's:' .. node, 'ready')
    taken[#taken + 1], taken[#taken + 2], taken[#taken + 3] = entry, run, node
  end
end
return taken
