-- ARGV: task. A dead letter begins again: the one way out of a finished state.
local T = open_task(ARGV[1])
if not T or redis.call('ZREM', DEAD, T.id) == 0 then return false end
set(T, 'state', SUBMITTED, 'owner', '', 'lost', 0, 'tries', 0, 'said', '', 'wait', '', 'again', '1',
  'since', NOW)
forget(T.id, 'R')
tell_event(T, 'status', '')
ring_by(T)
return T.agent
