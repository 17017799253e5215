-- SPDX-License-Identifier: Apache-2.0
-- Put an entry aside with its cause; the oldest of those that were put aside make room for it. The entry is done with.
-- KEYS: stream, where to.    ARGV: group, entry, event, cause, how many may be kept
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[5], '*', 'event', ARGV[3], 'cause', ARGV[4], 'entry', ARGV[2])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
return 1
