-- ARGV: task, token, state, body
local T = open_task(ARGV[1])
if not holds(T, ARGV[2]) then return 0 end
if not move(T, ARGV[3], ARGV[4]) then return 0 end
if END[T.state] then return 1 end
set(T, 'read', T.read + 1, 'owner', '', 'lost', 0, 'tries', 0)
if T.read < T.seq then
  ring_by(T)
  return 2
end
forget(T.id, 'T')
return 1
