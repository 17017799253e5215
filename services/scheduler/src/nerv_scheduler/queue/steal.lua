-- SPDX-License-Identifier: Apache-2.0
-- Take half of the longest backlog (of an odd number one more) from its end: what its worker has taken and not begun.
-- Each is ready, and the thief's.
-- KEYS: stream, backlogs (worker -> ms that it will take)    ARGV: group, thief, least ms that is worth the move
-- Answers (entry, run, node) of each. An item of a backlog is entry, run key, run, node, epoch and attempt, by lines.
local victim, longest = nil, tonumber(ARGV[3])
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  if all[i] ~= ARGV[2] and tonumber(all[i + 1]) >= longest then
    victim, longest = all[i], tonumber(all[i + 1])
  end
end
if not victim then
  return {}
end
local backlog = KEYS[2] .. ':' .. victim
local count = math.ceil(redis.call('LLEN', backlog) / 2)
redis.call('HSET', KEYS[2], victim, math.floor(longest / 2))
if count == 0 then
  redis.call('HDEL', KEYS[2], victim)
  return {}
end
local taken = {}
for _, item in ipairs(redis.call('RPOP', backlog, count)) do
  local entry, key, run, node, epoch, attempt = string.match(item, '(.*)\n(.*)\n(.*)\n(.*)\n(.*)\n(.*)')
  local known = redis.call('HMGET', key, 'epoch', 'a:' .. node, 's:' .. node)
  -- The list may be of an earlier life of that worker: only what nobody else has taken since may be moved.
  if known[1] == epoch and known[2] == attempt and known[3] == 'running'
    and #redis.call('XPENDING', KEYS[1], ARGV[1], entry, entry, 1, victim) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry, 'JUSTID')
    redis.call('HSET', key, 's:' .. node, 'ready')
    taken[#taken + 1], taken[#taken + 2], taken[#taken + 3] = entry, run, node
  end
end
return taken
