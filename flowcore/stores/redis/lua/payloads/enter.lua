-- Note the space of a run's payloads and return it: run.token. The token stays until due.lua finds
-- the run gone, so a space that is being removed is never given out again.
-- ARGV: run, a fresh token, ms until the next look at it, ms for which a run may not exist yet
local run = ARGV[1]
local token = redis.call('HGET', 'fc:payloads', run)
if not token then
  token = ARGV[2]
  redis.call('HSET', 'fc:payloads', run, token)
end
local space = run .. '.' .. token
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('EXISTS', 'fc:{' .. run .. '}:run') == 1 then
  redis.call('ZADD', 'fc:payloads:due', 'LT', now + ARGV[3], space)
else
  redis.call('ZADD', 'fc:payloads:due', 'GT', now + ARGV[4], space)
end
return space
