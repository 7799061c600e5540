-- Pause a run: what waits in the queue is held, and so is what becomes ready; what runs goes on.
-- ARGV: run, 1 if only as long as the run is paused that it is part of
local R = open_run(ARGV[1])
if not R then return false end
if ARGV[2] == '1' and R.up then
  local over = base_of(cmsgpack.unpack(R.up)[1])
  if redis.call('HGET', over .. 'run', 'state') ~= 'paused' then return { R.state } end
end
if R.state ~= 'running' and R.state ~= 'pending' then return { R.state } end
R.state = 'paused'
local nodes, agenda, first = {}, {}, {}
for at in redis.call('GET', R.base .. 'st'):gmatch('()[db]') do nodes[#nodes + 1] = at - 1 end
put_letters(R, nodes, 'h')
take_slots(R, -#nodes)
for k, node in ipairs(nodes) do
  agenda[k] = R.run .. '|' .. node
  first[#nodes + 1 - k] = node -- they have had a slot: before those that wait for one
end
local units = redis.call('HGETALL', R.base .. 'own')
for k = 1, #units, 2 do
  if units[k + 1]:sub(1, 1) == 'd' then
    write_unit(R, units[k], 'd', {})
    redis.call('HDEL', R.base .. 'late', units[k])
  end
end
if #nodes > 0 then
  chunked('ZREM', AGENDA, agenda)
  chunked('HDEL', R.base .. 'late', nodes)
  chunked('LPUSH', R.base .. 'held', first)
end
event(R, 'run.paused', ranges(nodes))
close(R)
return { R.state }
