-- ARGV: task, token, number, kind, body
local T = open_task(ARGV[1])
if not holds(T, ARGV[2]) then return 0 end
local number = tonumber(ARGV[3])
if number <= T.emitted then return 1 end
set(T, 'emitted', number)
tell_event(T, ARGV[4], ARGV[5])
return 1
