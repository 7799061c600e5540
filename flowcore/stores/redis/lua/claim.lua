-- Take a dispatched node. Only the exact attempt that was dispatched may claim it, once: a plain
-- duplicate of a message gets nothing.
-- ARGV: run, node, attempt, worker, node numbers whose outputs to return ...
local R = open_run(ARGV[1], FEW)
if not R or (R.state ~= 'running' and R.state ~= 'pending') then return false end
local node, attempt = tonumber(ARGV[2]), tonumber(ARGV[3])
if attempt_of(R, node) ~= attempt then return false end
if not turn(R, node, 'd', 'x') then return false end
redis.call('ZADD', AGENDA, R.now + R.lease, R.run .. '|' .. node)
local first = start(R)
local waited = R.waited and redis.call('HMGET', R.base .. 'sig', 'p:' .. node, 'f:' .. node, 't:' .. node) or {}
-- An attempt that has failed already began long ago.
if not waited[2] then event(R, 'node.started', node, attempt, ARGV[4]) end
local lost, before = 0, 0
if attempt > 1 then
  lost = tonumber(redis.call('HGET', R.base .. 'lost', node)) or 0
  if R.resumes then before = tonumber(redis.call('HGET', R.base .. 'base', node)) or 0 end
end
local outputs = {}
for from = 5, #ARGV, 1000 do -- Lua cannot unpack a join of 8,000 predecessors at once
  local part = redis.call('HMGET', R.base .. 'out', unpack(ARGV, from, math.min(from + 999, #ARGV)))
  for k = 1, #part do outputs[#outputs + 1] = part[k] end
end
return { first, lost, outputs, waited[1] or false, before, waited[2] or false, waited[3] or false }
