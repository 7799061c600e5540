-- Let a run go on: one that is paused, or one that has failed or was cancelled.
-- ARGV: run, the state it is in, how often it was resumed from an end or '', how to go on (msgpack:
--       nodes to run again, what has arrived at them), policy of each node (msgpack) and how to share
--       out what is ready (msgpack) or '' and '', the attempt that wants it to go on (as in submit.lua)
--       or ''

-- Nodes of a run that has ended are to run again, with attempts that nobody has had.
local function reopen(R, again, letters)
  local used = {}
  for k = 1, #again, 1000 do
    local last = math.min(k + 999, #again)
    local found = redis.call('HMGET', R.base .. 'att', unpack(again, k, last))
    for at, value in ipairs(found) do
      local node = again[k + at - 1]
      local attempt = tonumber(value) or 1
      if letters:sub(node + 1, node + 1) == 's' then attempt = attempt + 1 end
      if attempt > 1 then
        used[#used + 1], used[#used + 2] = node, attempt
      end
    end
  end
  if #used > 0 then
    chunked('HSET', R.base .. 'att', used)
    for k = 2, #used, 2 do used[k] = used[k] - 1 end
    chunked('HSET', R.base .. 'base', used)
  end
  if #again > 0 then
    for _, part in ipairs({ 'out', 'err', 'dead' }) do chunked('HDEL', R.base .. part, again) end
  end
  redis.call('HDEL', R.base .. 'err', 'T')
  put_letters(R, again, 'p')
  if R.epi then put_letter(R, R.total - 1, 'e') end
  R.left, R.active = #again, 0
end

-- The run is no longer one that has ended.
local function revive(R)
  redis.call('HDEL', R.base .. 'run', 'finished', 'cause', 'stop', 'closing')
  redis.call('HSET', R.base .. 'run', 'retried', '1')
  R.resumes = redis.call('HINCRBY', R.base .. 'run', 'resumes', 1)
  R.cause, R.stop, R.closing, R.retried = false, false, false, '1'
  redis.call('DEL', R.base .. 'done')
  for _, name in ipairs(KEPT) do redis.call('PERSIST', R.base .. name) end
  redis.call('ZREM', AGENDA, R.run .. '|R')
  redis.call('HINCRBY', PLANS, R.plan, 1)
  redis.call('PERSIST', PREFIX .. 'plan:' .. R.plan)
  redis.call('PERSIST', R.web)
  bury(R.run)
end

local R = open_run(ARGV[1])
if not R then return false end
if R.state ~= ARGV[2] or (R.resumes or '') ~= ARGV[3] then return { 'changed' } end
if redis.call('EXISTS', PREFIX .. 'plan:' .. R.plan) == 0 then return { 'noplan' } end
if ARGV[7] ~= '' then
  local up = cmsgpack.unpack(ARGV[7])
  local over = open_run(up[1])
  if not may_start(over, up) then return { 'orphan' } end
  redis.call('HSET', over.base .. 'kids', R.run, 'o' .. up[2])
  redis.call('HSET', over.base .. 'run', 'kids', '1')
  redis.call('HSET', R.base .. 'run', 'up', ARGV[7])
  R.up = ARGV[7]
end
local head = cmsgpack.unpack(ARGV[4])
local was = R.state
R.state = R.started and 'running' or 'pending'
if ARGV[6] ~= '' then
  share_out(R, cmsgpack.unpack(ARGV[6]))
  R.spare, R.idle = -1, false -- who resumes a run keeps nothing of it
end
if was ~= 'paused' then
  local letters = redis.call('GET', R.base .. 'st')
  revive(R)
  reopen(R, head.again, letters)
  if R.started and R.timeout > 0 then
    redis.call('ZADD', AGENDA, R.now + R.timeout, R.run .. '|T')
  end
  event(R, 'run.resumed', ranges(head.again))
  arrive(R, head.list)
  if redis.call('EXISTS', 'fc:callbacks-high:' .. (R.ns or '')) == 1 then -- workers tell of it again
    redis.call('ZADD', 'fc:callbacks:' .. (R.ns or ''), 0, R.run)
  end
else
  event(R, 'run.resumed')
  tell_children(R, 'U') -- one of them may have begun while somebody told the others
  if R.max > 0 then
    release(R)
  else
    local policies, ready = ARGV[5] ~= '' and cmsgpack.unpack(ARGV[5]) or {}, {}
    for k, node in ipairs(take_held(R)) do
      ready[k] = { node, attempt_of(R, node), policies[node + 1] }
    end
    place(R, ready)
  end
end
close(R)
return { 'resumed', R.state, R.plan, R.flow, R.ns, R.prio, R.out, R.bundles }
