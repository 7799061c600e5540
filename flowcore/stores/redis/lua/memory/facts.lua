-- The values of a thread that are not forgotten, and forget the others. ARGV: thread
local base = 'fc:{mem:' .. ARGV[1] .. '}:'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local found, all = {}, redis.call('HGETALL', base .. 'facts')
for k = 1, #all, 2 do
  local kept = cmsgpack.unpack(all[k + 1])
  if kept[1] == 0 or kept[1] > now then
    found[#found + 1], found[#found + 2] = all[k], kept[2]
  else
    redis.call('HDEL', base .. 'facts', all[k])
  end
end
return found
