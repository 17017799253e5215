-- SPDX-License-Identifier: Apache-2.0
-- Keep claims: their entries are as if delivered just now. Answers 0 for each whose token is old, 2 for those whose
-- run is being cancelled, 1 for the others: one that was settled by its own holder is not lost.
-- KEYS: stream    ARGV: worker, (run, nonce, entry, node)...
local answers = {}
for i = 2, #ARGV, 4 do
  local node = ARGV[i + 3]
  local known = redis.call('HMGET', run_key(ARGV[i]), 'n:' .. node, 's:' .. node, 'status')
  if known[1] == ARGV[i + 1] then
    if known[2] == 'running' then
      local stream, id = place(ARGV[i + 2])
      redis.call('XCLAIM', stream, GROUP, ARGV[1], 0, id, 'JUSTID')
    end
    answers[#answers + 1] = known[3] == 'cancelling' and 2 or 1
  else
    answers[#answers + 1] = 0
  end
end
return answers
