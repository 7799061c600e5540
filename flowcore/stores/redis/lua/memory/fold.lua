-- Forget the oldest messages of a thread; with a token, let a summary stand for them, if the token is
-- that of the latest claim. ARGV: thread, up to which message, token or '', summary
local base = 'fc:{mem:' .. ARGV[1] .. '}:'
local head, log = base .. 'head', base .. 'log'
local upto = tonumber(ARGV[2])
if ARGV[3] ~= '' then
  if redis.call('HGET', head, 'token') ~= ARGV[3] then return 0 end
  redis.call('HSET', head, 'folded', ARGV[2], 'summary', ARGV[4])
  redis.call('HDEL', head, 'tries', 'why')
  redis.call('ZREM', 'fc:memory:late', ARGV[1])
end
local gone, size = 0, 0
local first = redis.call('LINDEX', log, 0)
-- Those that may be forgotten are numbered without a gap.
if first then gone = upto - cmsgpack.unpack(first)[1] + 1 end
if gone > 0 then
  for _, entry in ipairs(redis.call('LRANGE', log, 0, gone - 1)) do
    size = size + #cmsgpack.unpack(entry)[3]
  end
  redis.call('LTRIM', log, gone, -1)
  redis.call('HINCRBY', head, 'size', -size)
end
return 1
