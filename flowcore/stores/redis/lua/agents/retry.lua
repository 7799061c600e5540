-- ARGV: task, token, delay ms, whether it failed
local T = open_task(ARGV[1])
if not holds(T, ARGV[2]) then return 0 end
set(T, 'owner', '', 'token', T.token + 1, 'wait', '1')
if ARGV[4] == '1' then set(T, 'tries', T.tries + 1, 'again', '1') end
look_at('T', T.id, NOW + ARGV[3])
return 1
