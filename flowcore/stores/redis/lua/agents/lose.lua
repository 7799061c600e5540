-- ARGV: task, token. The process that had the task is dead: a sweep takes it over at once.
local T = open_task(ARGV[1])
if not holds(T, ARGV[2]) then return 0 end
look_at('T', T.id, NOW)
return 1
