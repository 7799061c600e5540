-- End a claim, if it is still the latest. ARGV: thread, token, ms of a pause, why it failed or ''
local head = 'fc:{mem:' .. ARGV[1] .. '}:head'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('HGET', head, 'token') ~= ARGV[2] then return 0 end
redis.call('HSET', head, 'again', now + tonumber(ARGV[3]), 'why', ARGV[4])
if ARGV[4] == '' then
  redis.call('HDEL', head, 'tries', 'why')
  redis.call('ZREM', 'fc:memory:late', ARGV[1])
else
  -- A part may have been summarised before the next one failed.
  redis.call('HSETNX', head, 'tries', 1)
  redis.call('ZADD', 'fc:memory:late', 'NX', now, ARGV[1])
end
return 1
