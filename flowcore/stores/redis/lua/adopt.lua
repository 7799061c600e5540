-- Take a bundle. Only the first who comes gets it.
-- ARGV: run, unit
local R = open_run(ARGV[1], FEW)
if not R or (R.state ~= 'running' and R.state ~= 'pending') then return false end
local text = redis.call('HGET', R.base .. 'own', ARGV[2])
if not text or text:sub(1, 1) ~= 'd' then return false end
redis.call('HSET', R.base .. 'own', ARGV[2], 'x' .. text:sub(2) .. '!@' .. string.format('%.0f', R.tick))
redis.call('ZADD', AGENDA, R.now + R.lease, R.run .. '|' .. ARGV[2])
for list in text:gmatch(':([%d,%-]+)') do put_letters(R, unranges(list), 'x') end
return { start(R), text:sub(2), (R.resumes or R.retried == '2') and 1 or 0 }
