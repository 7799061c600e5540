-- ARGV: task, instance, lease ms. 'again' says that this is another try: after an error or a loss.
local T = open_task(ARGV[1])
if not T or END[T.state] or T.owner ~= '' or T.read >= T.seq then return false end
if T.wait == '1' then return false end
local again = T.again == '1' and 1 or 0
if T.state ~= WORKING then move(T, WORKING, '') end
set(T, 'owner', ARGV[2], 'token', T.token + 1, 'again', '')
look_at('T', T.id, NOW + ARGV[3])
local said = redis.call('LRANGE', key(T.id, 'in'), 0, T.read)
return { T.token, T.agent, T.ctx, said, T.emitted, T.tries, again, tonumber(T.v or 1) }
