-- ARGV: task, body
local T = open_task(ARGV[1])
if not T then return { 'unknown', '', 0 } end
if END[T.state] then return { T.state == CANCELED and 'duplicate' or 'finished', T.state, 0 } end
stop(T)
move(T, CANCELED, ARGV[2])
return { 'queued', T.state, 0 }
