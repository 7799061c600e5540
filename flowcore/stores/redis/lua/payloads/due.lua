-- Look at spaces that are due: those whose run is gone lose their token and are returned, to be
-- removed; should who removes them die, they come up again. Returns how many were looked at, too.
-- ARGV: limit, ms until the next look at a run that is there
local AGAIN = 300000
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local gone = {}
local due = redis.call('ZRANGEBYSCORE', 'fc:payloads:due', '-inf', now, 'LIMIT', 0, ARGV[1])
local function look(space)
  local run, token = space:match('^(.*)%.(%w+)$')
  if not run then error('it is the space of no run', 0) end
  local current = redis.call('HGET', 'fc:payloads', run) == token
  local base = 'fc:{' .. run .. '}:'
  if current and redis.call('EXISTS', base .. 'run') == 1 then
    local got = redis.call('HMGET', base .. 'run', 'finished', 'keep')
    local ends = (tonumber(got[1]) or 0) + (tonumber(got[2]) or 0)
    redis.call('ZADD', 'fc:payloads:due', math.max(now + ARGV[2], got[1] and ends or 0), space)
  else
    if current then redis.call('HDEL', 'fc:payloads', run) end
    redis.call('ZADD', 'fc:payloads:due', now + AGAIN, space)
    gone[#gone + 1] = space
  end
end

for _, space in ipairs(due) do
  isolated('payloads', 'fc:payloads:due', { space }, now, space, function() look(space) end)
end
return { #due, gone }
