-- ARGV: task, agent, what it counts as, message, context, create, deadline ms or '', notify, parent,
-- owner, keep, dlease, wire number
local task, parent = ARGV[1], ARGV[9]
if parent ~= '' then
  local P = open_task(parent)
  -- Whoever would wait for it has ended meanwhile, and what it has called with it.
  if not P or END[P.state] then return { 'abandoned', '', 0 } end
end
local T = open_task(task)
if not T then
  if ARGV[6] ~= '1' then return { 'unknown', '', 0 } end
  T = { id = task }
  set(T, 'agent', ARGV[2], 'ctx', ARGV[5], 'notify', ARGV[8], 'for', ARGV[10],
    'keep', tonumber(ARGV[11]), 'dlease', tonumber(ARGV[12]), 'state', SUBMITTED, 'seq', 1,
    'read', 0, 'token', 0, 'lost', 0, 'tries', 0, 'emitted', 0, 'ev', 0, 'rung', 0, 'owner', '',
    'said', '', 'since', NOW, 'v', ARGV[13])
  redis.call('RPUSH', key(task, 'in'), ARGV[4])
  redis.call('SADD', key(task, 'ids'), ARGV[3])
  if parent ~= '' then redis.call('SADD', key(parent, 'calls'), task) end
  if ARGV[7] ~= '' then look_at('D', task, NOW + ARGV[7]) end
  tell_event(T, 'status', '')
  ring_by(T)
  return { 'new', T.state, 1 }
end
if (T.v or '1') ~= ARGV[13] then return { 'version', T.state, 0, tonumber(T.v or 1) } end
if redis.call('SISMEMBER', key(task, 'ids'), ARGV[3]) == 1 then
  if ARGV[8] ~= '' then set(T, 'notify', ARGV[8]) end
  return { 'duplicate', T.state, 0 }
end
if END[T.state] then return { 'finished', T.state, 0 } end
redis.call('RPUSH', key(task, 'in'), ARGV[4])
redis.call('SADD', key(task, 'ids'), ARGV[3])
set(T, 'seq', T.seq + 1)
if ARGV[8] ~= '' then set(T, 'notify', ARGV[8]) end
local idle = T.state == ASKS and T.owner == ''
if idle then
  move(T, WORKING, '')
  ring_by(T)
end
return { 'queued', T.state, idle and 1 or 0 }
