-- Record how one attempt ended; count down its chords; say what to publish. Idempotent: only the
-- attempt that is running is heard, and only once.
-- ARGV: run, node, attempt, kind, blob, event data, delay ms, dead successors (msgpack), most losses
local R = open_run(ARGV[1])
if not R then return false end
local node, attempt, kind, blob = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
if letter_of(R, node) ~= 'x' then return false end
if attempt_of(R, node) ~= attempt then return false end
local member = R.run .. '|' .. node
local dead = {}
if ARGV[8] ~= '' then
  for _, target in ipairs(cmsgpack.unpack(ARGV[8])) do dead[target] = true end
end
if kind == 'lost' then
  lost(R, node, tonumber(ARGV[9]), blob, ARGV[6])
  return answer(R, close(R))
end
R.active = R.active - 1
if kind == 'retry' and R.state ~= 'stopping' then
  put_letter(R, node, 'w')
  redis.call('ZADD', AGENDA, R.now + tonumber(ARGV[7]), member)
  event(R, 'node.retrying', node, attempt, ARGV[6])
else
  redis.call('ZREM', AGENDA, member)
  if kind == 'succeeded' then
    put_letter(R, node, 's')
    redis.call('HSET', R.base .. 'out', node, blob)
    R.left = R.left - 1
    event(R, 'node.succeeded', node, attempt, ARGV[6])
    if R.state ~= 'stopping' then advance(R, node, 's', dead) end
  elseif R.state == 'stopping' then
    put_letter(R, node, 'c')
    R.left = R.left - 1
    event(R, 'nodes.cancelled', node, attempt)
  else
    fail(R, node, attempt, blob, ARGV[6], dead)
  end
end
if R.state ~= 'stopping' then release(R) end
return answer(R, close(R))
