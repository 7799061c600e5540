-- Give a place back; it goes to the first in the line, who has to be woken.
-- ARGV: limit's key, places, holder, lease ms
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local held, line, seen = ARGV[1] .. ':held', ARGV[1] .. ':line', ARGV[1] .. ':seen'
local kept = ARGV[1] .. ':kept'
redis.call('ZREM', held, ARGV[3])
redis.call('ZREM', kept, ARGV[3])
redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
local woken = {}
while redis.call('ZCARD', held) + redis.call('ZCARD', kept) < tonumber(ARGV[2]) do
  local first = redis.call('ZPOPMIN', line)[1]
  if not first then break end
  redis.call('ZREM', seen, first)
  redis.call('ZADD', held, now + ARGV[4], first)
  redis.call('PEXPIRE', held, 2 * ARGV[4])
  woken[#woken + 1] = first
end
return woken
