-- SPDX-License-Identifier: Apache-2.0
-- These entries are done with. Harmless to repeat.
-- KEYS: stream.    ARGV: group, entry...
for index = 2, #ARGV do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[index])
  redis.call('XDEL', KEYS[1], ARGV[index])
end
return #ARGV - 1
