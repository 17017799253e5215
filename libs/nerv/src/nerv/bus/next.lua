-- SPDX-License-Identifier: Apache-2.0
-- The next entries for a reader, while nobody holds any: so readers take turns, and the order of the stream is kept.
-- KEYS: stream.    ARGV: group, reader, how many at most.    Answers as XREADGROUP does, or nothing.
if redis.call('XPENDING', KEYS[1], ARGV[1])[1] > 0 then
  return false
end
return redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
