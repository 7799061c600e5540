-- Keep values by name, each until its time; '' forgets one.
-- ARGV: thread, ttl ms or '', name, value, ...
local base = 'fc:{mem:' .. ARGV[1] .. '}:'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ends = ARGV[2] ~= '' and now + tonumber(ARGV[2]) or 0
for k = 3, #ARGV, 2 do
  if ARGV[k + 1] == '' then
    redis.call('HDEL', base .. 'facts', ARGV[k])
  else
    redis.call('HSET', base .. 'facts', ARGV[k], cmsgpack.pack({ ends, ARGV[k + 1] }))
  end
end
redis.call('ZADD', 'fc:memory', now, ARGV[1])
