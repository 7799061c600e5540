-- Record how one attempt ended; count down its chords; say what to publish. Idempotent: only the
-- attempt that is running is heard, and only once.
-- ARGV: run, node, attempt and turn, kind, blob, event data, delay ms, dead successors (msgpack), most losses,
--       unit that owns the node or '', how to share out what becomes ready (msgpack) or '',
--       what a waiting node waits for, until when (ms)
local R = open_run(ARGV[1])
if not R then return false end
local node, attempt = tonumber(ARGV[2]), tonumber(ARGV[3]:match('^%d+'))
local kind, blob = ARGV[4], ARGV[5]
local good = kind == 'succeeded'
if not good and letter_of(R, node) ~= 'x' then return false end
if not is_held(R, node, ARGV[3]) then return false end
local member = R.run .. '|' .. node
local unit, owned, policy_of, from = ARGV[10], {}, {}, nil
if unit ~= '' then
  -- Should the unit have given the node back, another one may run this very attempt.
  local text, mine = redis.call('HGET', R.base .. 'own', unit), false
  if not text or text:sub(1, 1) ~= 'x' then return false end
  from = tonumber(text:match('@(%d+)$'))
  local nodes
  nodes, policy_of = read_unit(text)
  for _, other in ipairs(nodes) do
    if other == node then mine = true else owned[#owned + 1] = other end
  end
  if not mine then return false end
end
if good and not turn(R, node, 'x', 's') then return false end
R.last = R.tick
local dead = {}
if ARGV[8] ~= '' then
  for _, target in ipairs(cmsgpack.unpack(ARGV[8])) do dead[target] = true end
end
if kind == 'lost' then
  lost(R, node, tonumber(ARGV[9]), blob, ARGV[6])
  return answer(R, close(R))
end
if ARGV[11] ~= '' then
  share_out(R, cmsgpack.unpack(ARGV[11]))
  R.idle = #owned == 0
end
take_slots(R, -1)
if kind == 'retry' and R.state ~= 'stopping' then
  put_letter(R, node, 'w')
  -- The next attempt waits anew.
  if R.waited then redis.call('HDEL', R.base .. 'sig', 'p:' .. node, 'f:' .. node) end
  redis.call('ZADD', AGENDA, R.now + tonumber(ARGV[7]), member)
  event(R, 'node.retrying', node, attempt, ARGV[6])
elseif kind == 'deferred' and R.state ~= 'stopping' then
  defer(R, node, attempt, blob)
elseif kind == 'waiting' and (R.state ~= 'stopping' or waits_inside(R, node, ARGV[12])) then
  local due = tonumber(ARGV[7])
  if due >= 0 then due = R.now + due end
  if ARGV[13] ~= '' then due = math.max(tonumber(ARGV[13]), R.now) end
  park(R, node, attempt, due, ARGV[12], ARGV[6])
else
  redis.call('ZREM', AGENDA, member)
  stop_children(R, node)
  if good then
    redis.call('HSET', R.base .. 'out', node, blob)
    R.left = R.left - 1
    event(R, 'node.succeeded', node, attempt, ARGV[6])
    if ARGV[8] ~= '' then redis.call('HSET', R.base .. 'dead', node, ARGV[8]) end
    if R.state ~= 'stopping' then arrive(R, arrivals(R, node, 1 + OK, dead)) end
  elseif kind == 'skipped' and R.state ~= 'stopping' then
    put_letter(R, node, 'k')
    R.left = R.left - 1
    event(R, 'nodes.skipped', node)
    arrive(R, arrivals(R, node, 1))
  elseif R.state == 'stopping' then
    cancel(R, node, attempt)
  else
    if ARGV[8] ~= '' then redis.call('HSET', R.base .. 'dead', node, ARGV[8]) end
    fail(R, node, attempt, blob, ARGV[6], dead)
  end
end
if R.state ~= 'stopping' then release(R) end
local text = ''
if unit ~= '' or #R.kept > 0 then
  if unit == '' then unit = 'u' .. node .. 'a' .. attempt end
  for _, kept in ipairs(R.kept) do
    owned[#owned + 1] = kept
    policy_of[kept] = R.kept_policy[kept]
  end
  text = write_unit(R, unit, 'x', owned, policy_of, R.now + R.lease, nil, from or R.tick)
end
return answer(R, close(R), unit, text)
