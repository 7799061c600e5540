-- Deal with what is overdue on the agenda. Every worker runs this; it needs no leader, because
-- each entry is moved or removed in the same step that reads it.
-- ARGV: limit, most losses, failure of a lost node (msgpack), failure of a late run (msgpack),
--       event data of a lost node (msgpack), why a run is stopped with the one that started it, by when
--       (ms) this is to be done or '': it may have waited for the server, as those have who hold something
local now = clock()
if ARGV[7] ~= '' and now > tonumber(ARGV[7]) then return { 'late', now } end
local most = tonumber(ARGV[2])
local opened, order = {}, {}

local function run_of(run)
  if opened[run] == nil then
    opened[run] = open_run(run) or false
    if opened[run] then order[#order + 1] = opened[run] end
  end
  return opened[run]
end

local function republish(R, node)
  local late = redis.call('HINCRBY', R.base .. 'late', node, 1)
  redis.call('ZADD', AGENDA, now + R.dlease * math.pow(2, math.min(late, 6)), R.run .. '|' .. node)
  R.again = R.again or {}
  R.again[#R.again + 1] = node
  R.again[#R.again + 1] = attempt_of(R, node)
  R.again[#R.again + 1] = late
end

local function republish_unit(R, unit, text)
  local late = redis.call('HINCRBY', R.base .. 'late', unit, 1)
  redis.call('ZADD', AGENDA, now + R.dlease * math.pow(2, math.min(late, 6)), R.run .. '|' .. unit)
  local nodes = read_unit(text)
  R.again = R.again or {}
  R.again[#R.again + 1] = unit
  R.again[#R.again + 1] = { nodes[1], #nodes }
  R.again[#R.again + 1] = late
end

local function deadline(R)
  redis.call('ZREM', AGENDA, R.run .. '|T')
  if R.state == 'stopping' or R.closing then return end
  redis.call('HSET', R.base .. 'err', 'T', ARGV[4])
  R.cause, R.mark = R.cause or 'T', true
  abort(R)
end

-- The run that this one is part of goes on, or is not to be held up by this one.
local function let_go(R)
  if R.state == 'paused' then unpause(R) end
  tell_children(R, 'U')
end

-- The run that this one is part of does not want it any more.
local function abandon(R)
  if R.closing then return let_go(R) end -- what it does at its end, it does
  if R.left == 0 then return end
  if not R.stop then
    R.stop = ARGV[6]
    redis.call('HSET', R.base .. 'run', 'stop', ARGV[6])
  end
  abort(R)
end

local function look_at_node(R, node, member)
  local letter = letter_of(R, node)
  if letter == 'd' then
    republish(R, node)
  elseif letter == 'x' then
    lost(R, node, most, ARGV[3], ARGV[5])
  elseif letter == 'w' then
    redis.call('ZREM', AGENDA, member)
    redis.call('HDEL', R.base .. 'late', node)
    dispatch(R, { { node, attempt_of(R, node) + 1 } })
  elseif letter == 'q' then
    redis.call('HDEL', R.base .. 'late', node)
    unpark(R, node, '')
  else
    redis.call('ZREM', AGENDA, member)
  end
end

local members_of = {}

local function look(member)
  local run, what = member:match('^(.*)|(%w+)$')
  if not run then error('it names no run', 0) end
  local R = run_of(run)
  members_of[run] = members_of[run] or {}
  table.insert(members_of[run], member)
  if what == 'R' and is_wanted(run) then
    redis.call('ZADD', AGENDA, now + R.keep, member)
    for _, name in ipairs(KEPT) do redis.call('PEXPIRE', R.base .. name, R.keep + 3600000) end
  elseif what == 'R' then
    purge(run)
    redis.call('ZREM', AGENDA, member)
    opened[run] = false
  elseif not R then
    redis.call('ZREM', AGENDA, member)
  elseif what == 'T' then
    deadline(R)
  elseif what == 'K' then
    redis.call('ZREM', AGENDA, member)
    abandon(R)
  elseif what == 'U' then
    redis.call('ZREM', AGENDA, member)
    let_go(R)
  elseif what == 'F' then
    redis.call('ZREM', AGENDA, member) -- and see below
  elseif not tonumber(what) then
    local text = redis.call('HGET', R.base .. 'own', what)
    if not text then
      redis.call('ZREM', AGENDA, member)
    elseif text:sub(1, 1) == 'd' then
      republish_unit(R, what, text)
    else
      lose_unit(R, what, text, most, ARGV[3], ARGV[5])
    end
  else
    look_at_node(R, tonumber(what), member)
  end
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', AGENDA, '-inf', now, 'LIMIT', 0, ARGV[1])) do
  isolated('runs', AGENDA, { member }, now, member, function() look(member) end)
end

local answers = {}
for _, R in ipairs(order) do
  if opened[R.run] then
    isolated('runs', AGENDA, members_of[R.run], now, R.run, function()
      local final = close(R)
      answers[#answers + 1] = {
        R.run, final, R.plan, R.flow, R.ns, R.prio, R.out, R.bundles, R.again or {},
      }
    end)
  end
end
local ahead = redis.call('ZRANGE', AGENDA, 0, 0, 'WITHSCORES')
return { answers, ahead[2] and math.max(0, tonumber(ahead[2]) - now) or -1, now }
