-- The process that ran a unit is dead: let others have its nodes at once.
-- ARGV: run, unit, most losses, failure of a lost node (msgpack), event data of it (msgpack), the nodes
--       that it had begun (msgpack) or '' if nobody knows, event data of their starts (msgpack)
local R = open_run(ARGV[1])
if not R then return false end
local text = redis.call('HGET', R.base .. 'own', ARGV[2])
if not text or text:sub(1, 1) ~= 'x' then return false end
if ARGV[6] == '' then
  lose_unit(R, ARGV[2], text, tonumber(ARGV[3]), ARGV[4], ARGV[5])
else
  local begun = cmsgpack.unpack(ARGV[6])
  lose_begun(R, ARGV[2], text, begun, ARGV[7], tonumber(ARGV[3]), ARGV[4], ARGV[5])
end
return answer(R, close(R))
