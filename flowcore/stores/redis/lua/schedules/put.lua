-- Keep a schedule, if the one that is kept has the expected revision.
-- ARGV: namespace, name, what is kept (msgpack), expected revision or '', due (ms) or ''
local key, due = 'fc:schedules:' .. ARGV[1], 'fc:schedules:due:' .. ARGV[1]
local old = redis.call('HGET', key, ARGV[2])
local was = ''
if old then
  -- An entry that cannot be read has no revision: whoever puts it anew has seen that it cannot.
  local fine, kept = pcall(cmsgpack.unpack, old)
  was = fine and type(kept) == 'table' and kept.revision and tostring(kept.revision) or '0'
end
if was ~= ARGV[4] then return 0 end
redis.call('HSET', key, ARGV[2], ARGV[3])
if ARGV[5] == '' then
  redis.call('ZREM', due, ARGV[2])
else
  redis.call('ZADD', due, ARGV[5], ARGV[2])
end
return 1
