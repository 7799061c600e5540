-- Note how far a run's callbacks are, if they are still ours.
-- ARGV: namespace, run, token, cursor, ms until it is due again, 1 if the run has ended there.
local open, cb = 'fc:callbacks:' .. ARGV[1], 'fc:{' .. ARGV[2] .. '}:cb'
local row = 'fc:{' .. ARGV[2] .. '}:run'
if redis.call('HGET', cb, 'token') ~= ARGV[3] then return 0 end
if redis.call('EXISTS', row) == 0 then
  redis.call('ZREM', open, ARGV[2])
  redis.call('DEL', cb)
  return 0
end
redis.call('HSET', cb, 'after', ARGV[4])
local last = redis.call('XREVRANGE', 'fc:{' .. ARGV[2] .. '}:ev', '+', '-', 'COUNT', 1)[1]
if ARGV[6] == '1' and last and last[1] == '0-' .. ARGV[4] then
  redis.call('ZREM', open, ARGV[2])
else
  local t = redis.call('TIME')
  redis.call('ZADD', open, t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[5], ARGV[2])
end
return 1
