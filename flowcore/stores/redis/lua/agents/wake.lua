-- ARGV: task
local T = open_task(ARGV[1])
if not T or T.wait ~= '1' then return false end
set(T, 'wait', '')
ring_by(T)
return T.agent
