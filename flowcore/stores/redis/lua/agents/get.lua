-- ARGV: task. Returns agent, context, state, what goes with it, since, wire number; what was said; events.
local flat = redis.call('HMGET', key(ARGV[1], 'task'), 'agent', 'ctx', 'state', 'said', 'since', 'v')
if not flat[1] then return false end
return { flat, redis.call('LRANGE', key(ARGV[1], 'in'), 0, -1), redis.call('XRANGE', key(ARGV[1], 'ev'), '-', '+') }
