-- Ask whether an attempt may begin. What is kept: {circuit}:fails (sorted set of attempts that
-- failed, by when, microseconds), {circuit}:open (hash: until, microseconds; wins, the trials that
-- succeeded), {circuit}:trials (sorted set of attempts that try, by when they count no more).
-- ARGV: circuit's key, holder, reset_after (microseconds), trials
-- Returns -1 when it may, else the microseconds after which to ask again.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local open, trials = ARGV[1] .. ':open', ARGV[1] .. ':trials'
local until_ = tonumber(redis.call('HGET', open, 'until'))
if not until_ then return -1 end
-- Opened by a definition that has changed since, it is open no longer than this one says.
if until_ > now + ARGV[3] then
  until_ = now + ARGV[3]
  redis.call('HSET', open, 'until', string.format('%.0f', until_))
end
if now < until_ then return until_ - now end
redis.call('ZREMRANGEBYSCORE', trials, '-inf', now)
if not redis.call('ZSCORE', trials, ARGV[2]) then
  if redis.call('ZCARD', trials) >= tonumber(ARGV[4]) then
    local first = redis.call('ZRANGE', trials, 0, 0, 'WITHSCORES')
    return math.max(1, tonumber(first[2]) - now)
  end
  redis.call('ZADD', trials, string.format('%.0f', now + ARGV[3]), ARGV[2])
  redis.call('PEXPIRE', trials, math.ceil(ARGV[3] / 1000) * 2)
end
return -1
