-- ARGV: task, instance, lease ms
local T = open_task(ARGV[1])
if not T or END[T.state] or T.owner ~= '' or T.read >= T.seq then return false end
if T.wait == '1' then return false end
if T.state ~= WORKING then move(T, WORKING, '') end
set(T, 'owner', ARGV[2], 'token', T.token + 1)
redis.call('ZADD', AGENDA, NOW + ARGV[3], T.id)
local said = redis.call('LRANGE', key(T.id, 'in'), 0, T.read)
return { T.token, T.agent, T.ctx, said, T.emitted, T.tries }
