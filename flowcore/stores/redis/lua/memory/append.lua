-- Add messages to a thread. ARGV: thread, key or '', how many to keep, ttl ms or '', messages ...
-- Returns the id of the last of them.
local base = 'fc:{mem:' .. ARGV[1] .. '}:'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if ARGV[2] ~= '' then
  local said = redis.call('ZSCORE', base .. 'seen', ARGV[2])
  if said then return tonumber(said) end
end
local count = #ARGV - 4
local last = redis.call('HINCRBY', base .. 'head', 'last', count)
for k = 1, count do
  redis.call('RPUSH', base .. 'log', cmsgpack.pack({ last - count + k, now, ARGV[4 + k] }))
end
redis.call('LTRIM', base .. 'log', -tonumber(ARGV[3]), -1)
if ARGV[2] ~= '' then
  redis.call('ZADD', base .. 'seen', last, ARGV[2])
  redis.call('ZREMRANGEBYRANK', base .. 'seen', 0, -1001)
end
redis.call('ZADD', 'fc:memory', now, ARGV[1])
if ARGV[4] ~= '' then
  for _, name in ipairs({ 'head', 'log', 'seen', 'facts' }) do
    redis.call('PEXPIRE', base .. name, ARGV[4])
  end
end
return last
