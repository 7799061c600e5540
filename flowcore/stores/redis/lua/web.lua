-- The web of chords: shared by every script of this folder (it is put before each of them).
--
-- One run is: {base}run (hash), {base}st (one byte per node), {base}att (hash: the latest attempt
-- of a node, where it is not the first), {base}join (64 bits per node: counts of open joins),
-- {base}held (ready, over max_parallel), {base}out, {base}err, {base}lost, {base}late (hashes by
-- node), {base}ev (stream, ids 0-1, 0-2, ... without a gap) and {base}done (stream, one entry once
-- the run has ended).
-- The agenda (one sorted set for the server) names everything somebody must look at by a time:
-- "run|node" for a dispatched, running or waiting node, "run|T" for a deadline, "run|R" for the
-- end of retention. A plan's web (hash) gives, per node, {successor, in-degree, rule} triples.
-- Letters: p pending h held d dispatched x running w waiting to retry
--          s succeeded f failed k skipped c cancelled

local PREFIX = 'fc:'
local AGENDA = PREFIX .. 'agenda'
local RUNS = PREFIX .. 'runs'
local PLANS = PREFIX .. 'plans'
local OK, BAD = 131072, 17179869184 -- 2^17, 2^34: a join's counts share one integer

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function base_of(run) return PREFIX .. '{' .. run .. '}:' end

local FIELDS = {
  'state', 'plan', 'active', 'max', 'left', 'fast', 'flow', 'ns', 'prio', 'cause', 'stop',
  'total', 'keep', 'lease', 'dlease', 'timeout', 'retried',
}
-- What a script needs that changes no more than one node.
local FEW = { 'state', 'lease', 'timeout', 'retried' }
local NUMBERS = { active = 1, max = 1, left = 1, total = 1, keep = 1, lease = 1, dlease = 1, timeout = 1 }

-- Read a run into a table; nil when there is none.
local function open_run(run, fields)
  local R = { run = run, base = base_of(run), now = clock(), out = {} }
  fields = fields or FIELDS
  local got = redis.call('HMGET', R.base .. 'run', unpack(fields))
  if not got[1] then return nil end
  for k, name in ipairs(fields) do
    local value = got[k]
    if value and NUMBERS[name] then value = tonumber(value) end
    R[name] = value
  end
  if R.plan then R.web = PREFIX .. 'web:' .. R.plan end
  return R
end

local function save(R)
  redis.call('HSET', R.base .. 'run', 'state', R.state, 'active', R.active, 'left', R.left)
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

local function event(R, kind, nodes, attempt, data)
  redis.call('XADD', R.base .. 'ev', '0-*', 't', kind, 'n', nodes or '', 'a', attempt or 0,
    'ts', R.now, 'd', data or '')
end

-- The letter of a node, '' for a number outside the plan (GETRANGE counts -1 from the end).
local function letter_of(R, node)
  return node >= 0 and redis.call('GETRANGE', R.base .. 'st', node, node) or ''
end
local function put_letter(R, node, letter) redis.call('SETRANGE', R.base .. 'st', node, letter) end

-- The latest attempt of a node that was dispatched. Most runs never see a second one.
local function attempt_of(R, node)
  return R.retried and tonumber(redis.call('HGET', R.base .. 'att', node)) or 1
end

-- Call `command key` with a long list of arguments, a safe number at a time.
local function chunked(command, key, list)
  for k = 1, #list, 1000 do
    redis.call(command, key, unpack(list, k, math.min(k + 999, #list)))
  end
end

-- Record the intent to dispatch these {node, attempt} pairs: R.out is what the caller publishes.
local function dispatch(R, pairs_)
  local due, held, listed = {}, {}, {}
  for _, pair in ipairs(pairs_) do
    local node = pair[1]
    if pair[2] > 1 then
      redis.call('HSET', R.base .. 'att', node, pair[2])
      if not R.retried then
        R.retried = '1'
        redis.call('HSET', R.base .. 'run', 'retried', '1')
      end
    end
    if R.max > 0 and R.active >= R.max then
      put_letter(R, node, 'h')
      held[#held + 1] = node
    else
      R.active = R.active + 1
      put_letter(R, node, 'd')
      due[#due + 1] = R.now + R.dlease
      due[#due + 1] = R.run .. '|' .. node
      listed[#listed + 1] = node
      R.out[#R.out + 1] = node
      R.out[#R.out + 1] = pair[2]
    end
  end
  if #due > 0 then
    chunked('ZADD', AGENDA, due)
    event(R, 'nodes.dispatched', ranges(listed))
  end
  if #held > 0 then chunked('RPUSH', R.base .. 'held', held) end
end

-- Stop a run: nothing that is not running will run; what is running is told by its heartbeat.
local function abort(R)
  local letters = redis.call('GET', R.base .. 'st') or ''
  local gone, agenda = {}, {}
  for at in letters:gmatch('()[phdw]') do
    local node = at - 1
    gone[#gone + 1] = node
    local was = letters:sub(at, at)
    if was == 'd' or was == 'w' then agenda[#agenda + 1] = R.run .. '|' .. node end
    if was == 'd' then R.active = R.active - 1 end
  end
  if #gone > 0 then
    redis.call('SET', R.base .. 'st', (letters:gsub('[phdw]', 'c')))
    R.left = R.left - #gone
    event(R, 'nodes.cancelled', ranges(gone))
  end
  if #agenda > 0 then chunked('ZREM', AGENDA, agenda) end
  redis.call('DEL', R.base .. 'held')
  R.out, R.again = {}, nil
  if R.state ~= 'stopping' then
    R.state = 'stopping'
    event(R, 'run.stopping')
  end
end

-- Free slots under max_parallel go to the nodes that were held, oldest first.
local function release(R)
  if R.max == 0 then return end
  while R.active < R.max do
    local node = redis.call('LPOP', R.base .. 'held')
    if not node then return end
    node = tonumber(node)
    if letter_of(R, node) == 'h' then
      dispatch(R, { { node, attempt_of(R, node) } })
    end
  end
end

local function holds(rule, ok, bad)
  if rule == 'D' then return true end
  if rule == 'A' then return ok > 0 end
  if rule == 'N' then return bad == 0 end
  return bad == 0 and ok > 0
end

-- Which failure left an any_success join without a chance: the first that leads to it. The node
-- that happened to settle last may have succeeded, or been skipped.
local function culprit(R, target)
  local first
  for _, name in ipairs(redis.call('HKEYS', R.base .. 'err')) do
    local source = tonumber(name)
    local web = source and (not first or source < first) and redis.call('HGET', R.web, source)
    local edges = web and cmsgpack.unpack(web) or {}
    for k = 1, #edges, 3 do
      if edges[k] == target then first = source end
    end
  end
  return tostring(first)
end

-- Count one settled predecessor in all its joins at once; the counts come in the order of edges.
-- `dead` names targets whose edge does not hold, and is nil where all do.
local function count_joins(R, edges, delta, dead)
  local counts, bits, at, n = {}, {}, {}, 0
  local function flush()
    if n == 0 then return end
    local got = redis.call('BITFIELD', R.base .. 'join', unpack(bits, 1, n))
    for k = 1, #got do counts[at[k]] = got[k] end
    bits, at, n = {}, {}, 0
  end
  for k = 1, #edges, 3 do
    if edges[k + 1] > 1 then
      bits[n + 1], bits[n + 2], bits[n + 3] = 'INCRBY', 'i64', '#' .. edges[k]
      bits[n + 4] = dead and dead[edges[k]] and 1 or delta
      n = n + 4
      at[n / 4] = k
      if n >= 2000 then flush() end -- Lua cannot unpack more than 8,000 values
    end
  end
  flush()
  return counts
end

-- Count down every chord that `node` belongs to; follow dead paths; dispatch what became ready.
local function advance(R, node, letter, dead)
  local ready, skipped = {}, {}
  local stack = { { node, letter, dead } }
  while #stack > 0 do
    local item = table.remove(stack)
    local web = redis.call('HGET', R.web, item[1])
    local edges = web and cmsgpack.unpack(web) or {}
    local delta = item[2] == 's' and 1 + OK or (item[2] == 'k' and 1 or 1 + BAD)
    local dead_here = item[3] and next(item[3]) and item[3] or nil
    local counts = count_joins(R, edges, delta, dead_here)
    for k = 1, #edges, 3 do
      local target, degree = edges[k], edges[k + 1]
      local count = counts[k] or (dead_here and dead_here[target] and 1 or delta)
      if count % OK == degree then -- all its predecessors have settled
        local rule = edges[k + 2]
        local bad = math.floor(count / BAD)
        local ok = math.floor((count - bad * BAD) / OK)
        if holds(rule, ok, bad) then
          ready[#ready + 1] = { target, 1 }
        else
          put_letter(R, target, 'k')
          R.left = R.left - 1
          skipped[#skipped + 1] = target
          stack[#stack + 1] = { target, 'k' }
          if rule == 'A' and bad > 0 and not R.cause then
            R.cause, R.mark = culprit(R, target), true
          end
        end
      end
    end
  end
  if #skipped > 0 then
    table.sort(skipped)
    event(R, 'nodes.skipped', ranges(skipped))
  end
  if R.mark and R.fast == '1' then abort(R) else dispatch(R, ready) end
end

-- A failure is tolerated when it has live successors and each of them accepts failures.
local function tolerated(R, node, dead)
  local web = redis.call('HGET', R.web, node)
  if not web then return false end
  local edges, live = cmsgpack.unpack(web), 0
  for k = 1, #edges, 3 do
    if not dead[edges[k]] then
      live = live + 1
      if edges[k + 2] ~= 'D' and edges[k + 2] ~= 'A' then return false end
    end
  end
  return live > 0
end

local KEPT = { 'run', 'st', 'out', 'err', 'ev', 'in', 'done' }
local DONE = { 'join', 'held', 'late', 'lost', 'att' }

-- End the run when every node has settled. Returns the final state or ''.
local function finish(R)
  if R.left > 0 or R.state == 'succeeded' or R.state == 'failed' or R.state == 'cancelled' then
    return ''
  end
  R.state = R.stop and 'cancelled' or (R.cause and 'failed' or 'succeeded')
  redis.call('HSET', R.base .. 'run', 'finished', R.now)
  event(R, 'run.' .. R.state)
  redis.call('XADD', R.base .. 'done', '1-1', 's', R.state) -- wakes everybody who waits
  redis.call('ZREM', AGENDA, R.run .. '|T')
  for _, name in ipairs(DONE) do redis.call('DEL', R.base .. name) end
  for _, name in ipairs(KEPT) do redis.call('PEXPIRE', R.base .. name, R.keep + 3600000) end
  redis.call('ZADD', AGENDA, R.now + R.keep, R.run .. '|R')
  if redis.call('HINCRBY', PLANS, R.plan, -1) <= 0 then
    redis.call('HDEL', PLANS, R.plan)
    redis.call('PEXPIRE', PREFIX .. 'plan:' .. R.plan, R.keep + 3600000)
    redis.call('PEXPIRE', R.web, R.keep + 3600000)
  end
  return R.state
end

-- A node has failed for good: record why, then stop the run or go on around it.
local function fail(R, node, attempt, blob, brief, dead)
  put_letter(R, node, 'f')
  redis.call('HSET', R.base .. 'err', node, blob)
  R.left = R.left - 1
  event(R, 'node.failed', node, attempt, brief)
  if R.state == 'stopping' then return end
  if not tolerated(R, node, dead) then
    if not R.cause then
      R.cause = tostring(node)
      R.mark = true
    end
    if R.fast == '1' then
      abort(R)
      return
    end
  end
  advance(R, node, 'f', dead)
end

-- The worker of a running node is gone: dispatch a new attempt, or give the node up.
local function lost(R, node, most, blob, brief)
  local attempt = attempt_of(R, node)
  local count = redis.call('HINCRBY', R.base .. 'lost', node, 1)
  R.active = R.active - 1
  redis.call('ZREM', AGENDA, R.run .. '|' .. node)
  redis.call('HDEL', R.base .. 'late', node) -- a new attempt is not late yet
  event(R, 'node.lost', node, attempt)
  if R.state == 'stopping' then
    put_letter(R, node, 'c')
    R.left = R.left - 1
    event(R, 'nodes.cancelled', node, attempt)
    return
  end
  if count > most then
    fail(R, node, attempt, blob, brief, {})
  else
    dispatch(R, { { node, attempt + 1 } })
  end
  if R.state ~= 'stopping' then release(R) end
end

local function close(R)
  if R.mark then redis.call('HSET', R.base .. 'run', 'cause', R.cause) end
  local final = finish(R)
  save(R)
  return final
end

local function purge(run)
  for _, name in ipairs(KEPT) do redis.call('DEL', base_of(run) .. name) end
  for _, name in ipairs(DONE) do redis.call('DEL', base_of(run) .. name) end
  redis.call('ZREM', RUNS, run)
end

local function answer(R, final) return { final, R.plan, R.flow, R.ns, R.prio, R.out } end
