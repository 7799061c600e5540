-- Add messages to a thread. ARGV: thread, key or '', how many lead, how many may be pinned, ttl ms
-- or '', messages ... Returns the id of the last of them; how many there are that may be forgotten,
-- and their bytes.
local base = 'fc:{mem:' .. ARGV[1] .. '}:'
local head, log = base .. 'head', base .. 'log'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function written(last)
  return { last, redis.call('LLEN', log), tonumber(redis.call('HGET', head, 'size') or '0') }
end
if ARGV[2] ~= '' then
  local said = redis.call('ZSCORE', base .. 'seen', ARGV[2])
  if said then return written(tonumber(said)) end
end
local count, leading = #ARGV - 5, 0
local last = redis.call('HINCRBY', head, 'last', count)
local pinned = redis.call('LLEN', base .. 'pinned')
if pinned == last - count then leading = math.min(tonumber(ARGV[3]), tonumber(ARGV[4]) - pinned) end
local size = 0
for k = 1, count do
  local packed = ARGV[5 + k]
  local entry = cmsgpack.pack({ last - count + k, now, packed })
  if k <= leading then
    redis.call('RPUSH', base .. 'pinned', entry)
  else
    redis.call('RPUSH', log, entry)
    size = size + #packed
  end
end
redis.call('HINCRBY', head, 'size', size)
if ARGV[2] ~= '' then
  redis.call('ZADD', base .. 'seen', last, ARGV[2])
  redis.call('ZREMRANGEBYRANK', base .. 'seen', 0, -1001)
end
redis.call('ZADD', 'fc:memory', now, ARGV[1])
if ARGV[5] ~= '' then
  for _, name in ipairs({ 'head', 'pinned', 'log', 'seen', 'facts' }) do
    redis.call('PEXPIRE', base .. name, ARGV[5])
  end
end
return written(last)
