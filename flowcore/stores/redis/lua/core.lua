-- What every script of this folder is built on (it is put before each of them).
--
-- One run is: {base}run (hash), {base}st (one byte per node), {base}att (hash: the latest attempt
-- of a node, where it is not the first; of one that failed or was cancelled while it ran, the
-- next), {base}join (64 bits per node: counts of open joins), {base}held (ready, over max_parallel
-- or because the run is paused), {base}out, {base}err, {base}lost, {base}late (hashes by node),
-- {base}dead (hash by node: successors whose edge from it does not hold), {base}base (hash by node:
-- attempts before the run was resumed), {base}sig (hash: 's:' and a name for how
-- many signals were kept, 'h:' and a name for how many of these were taken, 'v:' and both for one that
-- nobody has taken, 'a:' and a node for an answer that it has not taken, 'n:' and a node for what it waits for, 'p:' and a node for what ended its wait, 'f:' and a
-- node for why its attempt has failed, 'l:' and a node for how many of those who were to decide what
-- comes of that were lost, 't:' and a node for how often a turn of it has ended without its attempt, 'e:'
-- and a node while whose turn a run has ended that it has started),
-- {base}heard (hash by node: attempt and number of the latest notes),
-- {base}kids (hash by id of a run that a node has started: 'o' and the node, 'e' once it has ended),
-- {base}own (hash by unit: the nodes that travel or run together), {base}ev (stream, ids 0-1,
-- 0-2, ... without a gap, but that an entry of type "batch" or "notes" stands for several events and
-- has the id of the last) and {base}done (stream, one entry once the run has ended).
-- The agenda (one sorted set for the server) names everything somebody must look at by a time:
-- "run|node" for a dispatched, running or waiting node, "run|" and the name of a unit for one that
-- is dispatched or running, "run|T" for a deadline, "run|R" for the end of retention, "run|K" for a run
-- that is to be stopped because the one that it is part of is, "run|U" for one that is to go on if it
-- is paused, "run|F" for one that may have ended with a run that it has started.
-- A unit is 'd' (nobody has adopted it) or 'x', then its nodes as "policy:ranges;policy:ranges",
-- then '!', the node that it was last said to have started, if any, '@' and when it was taken: what a
-- worker says of times counts from there, so that rounding and clocks do not matter inside a unit.
-- A plan's web (hash) gives, per node, {successor, in-degree, rule, policy} of each successor.
-- Letters: p pending h held d dispatched b dispatched in a bundle x running w waits to retry  q waits
--          s succeeded f failed k skipped c cancelled
--          e the epilogue, the last node of a plan that has one, before it is its turn

local PREFIX = 'fc:'
local AGENDA = PREFIX .. 'agenda'
local RUNS = PREFIX .. 'runs'
local PLANS = PREFIX .. 'plans'
local DEAD = PREFIX .. 'dead' -- sorted set of run|node: given up because their workers died
local OK, BAD = 131072, 17179869184 -- 2^17, 2^34: a join's counts share one integer

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function base_of(run) return PREFIX .. '{' .. run .. '}:' end

local FIELDS = {
  'state', 'plan', 'active', 'max', 'left', 'fast', 'flow', 'ns', 'prio', 'cause', 'stop',
  'total', 'keep', 'lease', 'dlease', 'timeout', 'retried', 'waited', 'started', 'resumes',
  'up', 'kids', 'spared', 'epi', 'closing', 'whole', 'last',
}
-- What a script needs that changes no more than one node.
local FEW = { 'state', 'lease', 'timeout', 'retried', 'waited', 'resumes', 'last' }
local NUMBERS = { active = 1, max = 1, left = 1, total = 1, keep = 1, lease = 1, dlease = 1, timeout = 1, spared = 1 }

-- Read a run into a table; nil when there is none.
local function open_run(run, fields)
  local R = {
    run = run, base = base_of(run), now = clock(), out = {}, bundles = {}, kept = {}, kept_policy = {},
  }
  fields = fields or FIELDS
  local got = redis.call('HMGET', R.base .. 'run', unpack(fields))
  if not got[1] then return nil end
  for k, name in ipairs(fields) do
    local value = got[k]
    if value and NUMBERS[name] then value = tonumber(value) end
    R[name] = value
  end
  if R.plan then R.web = PREFIX .. 'web:' .. R.plan end
  -- The time for the log. It never runs backwards behind the end of a node, though the server's
  -- clock may be set: `last` is the latest end.
  R.tick = math.max(R.now, tonumber(R.last or 0))
  return R
end

local function save(R)
  redis.call('HSET', R.base .. 'run', 'state', R.state, 'active', R.active, 'left', R.left,
    'last', R.last or 0)
end

-- Write {1,2,3,7} as "1-3,7".
local function ranges(list)
  local parts, k = {}, 1
  while k <= #list do
    local from = list[k]
    local to = from
    while list[k + 1] == to + 1 do k = k + 1; to = list[k] end
    parts[#parts + 1] = (from == to) and tostring(from) or (from .. '-' .. to)
    k = k + 1
  end
  return table.concat(parts, ',')
end

-- Read "1-3,7" as {1,2,3,7}.
local function unranges(text)
  local list = {}
  for from, to in text:gmatch('(%d+)%-?(%d*)') do
    for node = tonumber(from), tonumber(to) or tonumber(from) do list[#list + 1] = node end
  end
  return list
end

-- The nodes of a unit, and the policy of each.
local function read_unit(text)
  local nodes, policy_of = {}, {}
  for policy, list in text:gmatch('(%d+):([%d,%-]+)') do
    policy = tonumber(policy)
    for _, node in ipairs(unranges(list)) do
      nodes[#nodes + 1] = node
      policy_of[node] = policy
    end
  end
  return nodes, policy_of
end

local function event(R, kind, nodes, attempt, data, at)
  redis.call('XADD', R.base .. 'ev', '0-*', 't', kind, 'n', nodes or '', 'a', attempt or 0,
    'ts', at or R.tick, 'd', data or '')
end

-- What a gap says when a run may say no more.
local FULL = cmsgpack.pack({ reason = 'full' })

-- Append one entry that stands for several events.
local function batch(R, blob, count, kind, node, attempt, at)
  local last = redis.call('XREVRANGE', R.base .. 'ev', '+', '-', 'COUNT', 1)[1]
  if not last then -- somebody has emptied the log, or it is lost: its numbers go on
    local info = redis.pcall('XINFO', 'STREAM', R.base .. 'ev')
    last = { '0-0' }
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then last = { info[i + 1] } end
    end
  end
  local id = tonumber(last[1]:match('%-(%d+)$')) + count
  redis.call('XADD', R.base .. 'ev', '0-' .. string.format('%.0f', id), 't', kind or 'batch',
    'n', node or '', 'a', attempt or 0, 'ts', at or R.tick, 'd', blob)
end

-- The letter of a node, '' for a number outside the plan (GETRANGE counts -1 from the end).
local function letter_of(R, node)
  return node >= 0 and redis.call('GETRANGE', R.base .. 'st', node, node) or ''
end
local function put_letter(R, node, letter) redis.call('SETRANGE', R.base .. 'st', node, letter) end

-- Give a node that has one letter another one, in one command; says whether it had it.
local function turn(R, node, from, to)
  if node < 0 then return false end
  local key, at = R.base .. 'st', '#' .. node
  local was = redis.call('BITFIELD', key, 'GET', 'u8', at, 'SET', 'u8', at, to:byte())[1]
  if was == from:byte() then return true end
  if was > 0 then
    redis.call('BITFIELD', key, 'SET', 'u8', at, was)
  else -- a number outside the plan has made the text longer
    redis.call('SET', key, (redis.call('GET', key):sub(1, node):gsub('%z.*$', '')),
      'KEEPTTL')
  end
  return false
end

-- Give a rising list of nodes the same letter.
local function put_letters(R, nodes, letter)
  local k, count = 1, #nodes
  while k <= count do
    local from, first = k, nodes[k]
    while nodes[k + 1] == nodes[k] + 1 do k = k + 1 end
    redis.call('SETRANGE', R.base .. 'st', first, letter:rep(k - from + 1))
    k = k + 1
  end
end

-- The latest attempt of a node that was dispatched. Most runs never see a second one.
local function attempt_of(R, node)
  return R.retried and tonumber(redis.call('HGET', R.base .. 'att', node)) or 1
end

-- Whether the one who speaks holds a node. An attempt is claimed anew after a wait, and when somebody is
-- to decide what comes of its failure: each time that is another turn, and who had an earlier one (or
-- says twice how it ended) is not heard. `fence` is the attempt, then '.' and the turn, if it is not the
-- first; '.?' is said by those who do not know the turn.
local function is_held(R, node, fence)
  local attempt, turn = fence:match('^(%d+)%.?(.*)$')
  if attempt_of(R, node) ~= tonumber(attempt) then return false end
  if not R.waited or turn == '?' then return true end
  return (redis.call('HGET', R.base .. 'sig', 't:' .. node) or '') == turn
end

-- The first claim starts the run; says whether this is it.
local function start(R)
  if R.state ~= 'pending' then return 0 end
  redis.call('HSET', R.base .. 'run', 'state', 'running', 'started', R.tick)
  if R.timeout > 0 then redis.call('ZADD', AGENDA, R.now + R.timeout, R.run .. '|T') end
  event(R, 'run.started')
  return 1
end
