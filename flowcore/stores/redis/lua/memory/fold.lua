-- Let a summary stand for the oldest messages, unless somebody else has done so meanwhile.
-- ARGV: thread, summary, up to which message, up to which one it was before
local base = 'fc:{mem:' .. ARGV[1] .. '}:'
if (redis.call('HGET', base .. 'head', 'folded') or '0') ~= ARGV[4] then return 0 end
if redis.call('EXISTS', base .. 'head') == 0 then return 0 end
redis.call('HSET', base .. 'head', 'folded', ARGV[3], 'summary', ARGV[2])
local upto, gone = tonumber(ARGV[3]), 0
for _, entry in ipairs(redis.call('LRANGE', base .. 'log', 0, -1)) do
  if cmsgpack.unpack(entry)[1] > upto then break end
  gone = gone + 1
end
redis.call('LTRIM', base .. 'log', gone, -1)
return 1
