-- Begin to summarise a thread, unless somebody has begun or it was put off.
-- ARGV: thread, token, ms after which the next may begin. Returns which try this is, or 0.
local head = 'fc:{mem:' .. ARGV[1] .. '}:head'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('EXISTS', head) == 0 then return 0 end
if now < tonumber(redis.call('HGET', head, 'again') or '0') then return 0 end
redis.call('HSET', head, 'token', ARGV[2], 'again', now + tonumber(ARGV[3]))
redis.call('ZADD', 'fc:memory:late', 'NX', now, ARGV[1])
return redis.call('HINCRBY', head, 'tries', 1)
