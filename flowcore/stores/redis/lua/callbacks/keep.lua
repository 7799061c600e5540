-- Note how far a run's callbacks are, if they are still ours.
-- ARGV: namespace, run, token, cursor, ms until it is due again, 1 if the run has ended there, most ms
--       for which one that has nothing new is left alone: a tenth of the time it was quiet for; or 0
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
  local now, pause = t[1] * 1000 + math.floor(t[2] / 1000), tonumber(ARGV[5])
  if last and last[1] == '0-' .. ARGV[4] then
    for k = 1, #last[2], 2 do
      if last[2][k] == 'ts' then
        local quiet = now - (tonumber(last[2][k + 1]) or now)
        pause = math.max(pause, math.min(quiet / 10, tonumber(ARGV[7])))
      end
    end
  end
  redis.call('ZADD', open, math.floor(now + pause), ARGV[2])
end
return 1
