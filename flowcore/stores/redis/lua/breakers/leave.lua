-- Say how an attempt ended; what is kept is told in enter.lua.
-- ARGV: circuit's key, holder, 'succeeded', 'failed' or '', failures, within, reset_after (both
--       microseconds), trials
-- Returns 'open' or 'closed' when this has changed the circuit, else ''.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local fails, open, trials = ARGV[1] .. ':fails', ARGV[1] .. ':open', ARGV[1] .. ':trials'
local within, reset = tonumber(ARGV[5]), tonumber(ARGV[6])

-- An open circuit that nobody tries is closed by time in the end.
local keep = math.ceil(math.max(within, 100 * reset) / 1000) + 60000
local function trip()
  redis.call('DEL', fails, trials, open)
  redis.call('HSET', open, 'until', string.format('%.0f', now + reset))
  redis.call('PEXPIRE', open, keep)
  return 'open'
end

local tried = redis.call('ZREM', trials, ARGV[2]) == 1
local until_ = tonumber(redis.call('HGET', open, 'until'))
if until_ then
  -- What began before it was opened says nothing new.
  if not tried or now < until_ then return '' end
  if ARGV[3] == 'failed' then return trip() end
  if ARGV[3] == '' then return '' end
  if redis.call('HINCRBY', open, 'wins', 1) < tonumber(ARGV[7]) then return '' end
  redis.call('DEL', fails, trials, open)
  return 'closed'
end
if ARGV[3] ~= 'failed' then return '' end
redis.call('ZADD', fails, string.format('%.0f', now), ARGV[2])
redis.call('ZREMRANGEBYSCORE', fails, '-inf', string.format('%.0f', now - within))
redis.call('PEXPIRE', fails, math.ceil(within / 1000) + 60000)
if redis.call('ZCARD', fails) < tonumber(ARGV[4]) then return '' end
return trip()
