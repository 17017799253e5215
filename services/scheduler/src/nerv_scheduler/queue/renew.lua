-- SPDX-License-Identifier: Apache-2.0
-- Keep claims: their entries are as if delivered just now. Answers 0 for each whose token is old, 2 for those whose
-- run is being cancelled, 1 for the others: one that was settled by its own holder is not lost.
-- KEYS: stream, run of each claim...    ARGV: group, worker, (epoch, attempt, entry, node)...
local answers = {}
for i = 2, #KEYS do
  local at = 4 * i - 5
  local node = ARGV[at + 3]
  local known = redis.call('HMGET', KEYS[i], 'epoch', 'a:' .. node, 's:' .. node, 'status')
  if known[1] == ARGV[at] and known[2] == ARGV[at + 1] then
    if known[3] == 'running' then
      redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at + 2], 'JUSTID')
    end
    answers[i - 1] = known[4] == 'cancelling' and 2 or 1
  else
    answers[i - 1] = 0
  end
end
return answers
