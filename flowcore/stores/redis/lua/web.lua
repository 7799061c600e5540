-- The web of chords: put after dispatch.lua, before each script that settles nodes.

-- Put the open runs on the agenda that a node has started, or all nodes have.
local function tell_children(R, what, node)
  if not R.kids then return end
  local kids = redis.call('HGETALL', R.base .. 'kids')
  for k = 1, #kids, 2 do
    local open = kids[k + 1]:sub(1, 1) == 'o'
    if open and (not node or tonumber(kids[k + 1]:sub(2)) == node) then
      redis.call('ZADD', AGENDA, R.now, kids[k] .. '|' .. what)
    end
  end
end

-- They are to be stopped.
local function stop_children(R, node) tell_children(R, 'K', node) end

-- Whether a run that a node has started has not ended.
local function has_open(R)
  if not R.kids then return false end
  for _, what in ipairs(redis.call('HVALS', R.base .. 'kids')) do
    if what:sub(1, 1) == 'o' then return true end
  end
  return false
end

-- What a node waits for: see `park`.
local function awaited_by(R, node)
  return R.waited and redis.call('HGET', R.base .. 'sig', 'n:' .. node) or ''
end

-- Whether that is a run that it has started and that has not ended.
local function waits_inside(R, node, what)
  return what:sub(1, 1) == 'c'
    and redis.call('HGET', R.base .. 'kids', what:sub(2)) == 'o' .. node
end

-- Whether a node keeps its slot of max_parallel while it waits: what it has started is under way, and
-- so is an item of a map, whatever it waits for.
local function keeps_slot(R, what)
  return what ~= '' and (R.whole or what:sub(1, 1) == 'c')
end

-- Stop a run: nothing that is not running will run; what is running is told by its heartbeat, and a
-- node that waits for a run that it has started ends with that.
local function abort(R)
  local letters = redis.call('GET', R.base .. 'st') or ''
  local gone, stay, agenda, next_ = {}, {}, {}, {}
  for at in letters:gmatch('()[phdbwq]') do
    local node = at - 1
    local was = letters:sub(at, at)
    local what = was == 'q' and awaited_by(R, node) or ''
    if waits_inside(R, node, what) then
      stay[#stay + 1] = node
    else
      gone[#gone + 1] = node
      if was == 'd' or was == 'w' or was == 'q' then agenda[#agenda + 1] = R.run .. '|' .. node end
      if was == 'd' or keeps_slot(R, what) then take_slots(R, -1) end
      if was == 'w' then
        next_[#next_ + 1], next_[#next_ + 2] = node, attempt_of(R, node) + 1
      end
    end
  end
  if #gone > 0 then
    redis.call('SET', R.base .. 'st', (letters:gsub('[phdbwq]', 'c')))
    put_letters(R, stay, 'q')
    R.left = R.left - #gone
    event(R, 'nodes.cancelled', ranges(gone))
  end
  if #agenda > 0 then chunked('ZREM', AGENDA, agenda) end
  if #next_ > 0 then chunked('HSET', R.base .. 'att', next_) end
  redis.call('DEL', R.base .. 'held')
  local units = redis.call('HGETALL', R.base .. 'own')
  for k = 1, #units, 2 do
    if units[k + 1]:sub(1, 1) == 'd' then write_unit(R, units[k], 'd', {}) end
  end
  R.out, R.bundles, R.again = {}, {}, nil
  stop_children(R)
  if R.state ~= 'stopping' then
    R.state = 'stopping'
    event(R, 'run.stopping')
  end
end

-- The attempt that ran is over: should the run be resumed, the node's next one is another.
local function use_up(R, node, attempt) redis.call('HSET', R.base .. 'att', node, attempt + 1) end

-- A running node ends because its run is stopping.
local function cancel(R, node, attempt)
  put_letter(R, node, 'c')
  use_up(R, node, attempt)
  R.left = R.left - 1
  event(R, 'nodes.cancelled', node, attempt)
end

-- End the wait of a node, which may want to know by what: a signal's value, '' for the time, the id
-- of the run that it waited for.
local function unpark(R, node, what)
  local awaited = awaited_by(R, node)
  if awaited ~= '' then
    redis.call('HDEL', R.base .. 'sig', 'n:' .. node)
    if awaited:sub(1, 1) == 'c' then what = awaited:sub(2) end
    redis.call('HSET', R.base .. 'sig', 'p:' .. node, what)
    if keeps_slot(R, awaited) then take_slots(R, -1) end
  end
  redis.call('ZREM', AGENDA, R.run .. '|' .. node)
  if R.state == 'stopping' then
    cancel(R, node, attempt_of(R, node))
  else
    dispatch(R, { { node, attempt_of(R, node) } })
  end
end

-- The answer that was kept for a node, or the first signal of a name: in its run, or in one around
-- that. 's:' and the name counts those that were kept, 'h:' those that were taken of them.
local function kept_signal(R, node, name)
  local base, up = R.base, R.up
  local said = redis.call('HGET', base .. 'sig', 'a:' .. node)
  if said then
    redis.call('HDEL', base .. 'sig', 'a:' .. node)
    return said
  end
  while base do
    local sig = base .. 'sig'
    local kept = redis.call('HGET', sig, 's:' .. name)
    if kept then
      local at = tonumber(redis.call('HGET', sig, 'h:' .. name) or 0) + 1
      local field = 'v:' .. at .. ':' .. name
      local came = redis.call('HGET', sig, field)
      if at == tonumber(kept) then
        redis.call('HDEL', sig, field, 's:' .. name, 'h:' .. name)
      else
        redis.call('HDEL', sig, field)
        redis.call('HSET', sig, 'h:' .. name, at)
      end
      return came
    end
    base = up and base_of(cmsgpack.unpack(up)[1])
    up = base and redis.call('HGET', base .. 'run', 'up')
  end
end

-- The turn of an attempt ends, and the attempt goes on in another one.
local function end_turn(R, node)
  if not R.waited then
    R.waited = '1'
    redis.call('HSET', R.base .. 'run', 'waited', '1')
  end
  redis.call('HINCRBY', R.base .. 'sig', 't:' .. node, 1)
end

-- Let a node wait without a worker. `due` (ms) is less than 0 for ever; `what` is '' for a turn,
-- 't' for a time, 's' and a name for a signal, 'c' and the id of a run that the node has started.
local function park(R, node, attempt, due, what, data)
  put_letter(R, node, 'q')
  end_turn(R, node)
  event(R, 'node.waiting', node, attempt, data)
  redis.call('HDEL', R.base .. 'heard', node) -- its next turn is the same attempt, and counts anew
  local sig = R.base .. 'sig'
  if what ~= '' then
    redis.call('HDEL', sig, 'p:' .. node)
    redis.call('HSET', sig, 'n:' .. node, what)
    if keeps_slot(R, what) then take_slots(R, 1) end
    -- A run, this or another one that the node has started, may have ended before it came to wait.
    if what:sub(1, 1) == 'c' then
      local told = redis.call('HDEL', sig, 'e:' .. node) == 1
      if told or not waits_inside(R, node, what) then return unpark(R, node, '') end
    end
    local came = what:sub(1, 1) == 's' and kept_signal(R, node, what:sub(2))
    if came then return unpark(R, node, came) end
  end
  if due >= 0 then
    redis.call('ZADD', AGENDA, due, R.run .. '|' .. node)
  else
    redis.call('ZREM', AGENDA, R.run .. '|' .. node)
  end
end

-- An attempt has failed; who claims it next, as the attempt that it was, decides what comes of that.
local function defer(R, node, attempt, failure)
  end_turn(R, node)
  redis.call('HSET', R.base .. 'sig', 'f:' .. node, failure)
  redis.call('HDEL', R.base .. 'heard', node) -- as in `park`
  redis.call('ZREM', AGENDA, R.run .. '|' .. node)
  dispatch(R, { { node, attempt } })
end

-- Free slots under max_parallel go to the nodes that were held, oldest first.
local function release(R)
  if R.max == 0 or R.state == 'paused' then return end
  while R.active < R.max do
    local node = redis.call('LPOP', R.base .. 'held')
    if not node then return end
    node = tonumber(node)
    if letter_of(R, node) == 'h' then
      dispatch(R, { { node, attempt_of(R, node) } })
    end
  end
end

-- The nodes that were held, in their order, which are not from now on.
local function take_held(R)
  local nodes, letters = {}, redis.call('GET', R.base .. 'st')
  for _, node in ipairs(redis.call('LRANGE', R.base .. 'held', 0, -1)) do
    node = tonumber(node)
    if letters:sub(node + 1, node + 1) == 'h' then nodes[#nodes + 1] = node end
  end
  redis.call('DEL', R.base .. 'held')
  return nodes
end

-- A run that is paused goes on; whoever else is to hear of it is not here.
local function unpause(R)
  R.state = R.started and 'running' or 'pending'
  event(R, 'run.resumed')
  if R.max > 0 then return release(R) end
  local ready = {}
  for k, node in ipairs(take_held(R)) do ready[k] = { node, attempt_of(R, node) } end
  if #ready > 0 then dispatch(R, ready) end
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
    for k = 1, #edges, 4 do
      if edges[k] == target then first = source end
    end
  end
  return tostring(first)
end

-- What one settled node counts in its joins. `dead` names successors whose edge does not hold.
local function arrivals(R, node, count, dead)
  local web = redis.call('HGET', R.web, node)
  local edges, list = web and cmsgpack.unpack(web) or {}, {}
  for k = 1, #edges, 4 do
    local n = #list
    list[n + 1], list[n + 2], list[n + 3] = edges[k], edges[k + 1], edges[k + 2]
    list[n + 4], list[n + 5] = edges[k + 3], dead and dead[edges[k]] and 1 or count
  end
  return list
end

-- Whether a node that is not ready may have had attempts: in a run that was resumed, or where a unit
-- that ran ahead of the record was lost.
local function repeats(R) return R.resumes or R.retried == '2' end

-- Count what has settled in all the joins it arrives at: `list` is {target, in-degree, rule,
-- policy, count, ...}, one entry a target. Follow dead paths; share out what became ready.
local function arrive(R, list)
  local ready, skipped, stack = {}, {}, {}
  while list do
    local counts, bits, at, n = {}, {}, {}, 0
    local function flush()
      if n == 0 then return end
      local got = redis.call('BITFIELD', R.base .. 'join', unpack(bits, 1, n))
      for k = 1, #got do counts[at[k]] = got[k] end
      bits, at, n = {}, {}, 0
    end
    for k = 1, #list, 5 do
      if list[k + 1] > 1 then
        bits[n + 1], bits[n + 2], bits[n + 3] = 'INCRBY', 'i64', '#' .. list[k]
        bits[n + 4] = list[k + 4]
        n = n + 4
        at[n / 4] = k
        if n >= 2000 then flush() end -- Lua cannot unpack more than 8,000 values
      end
    end
    flush()
    for k = 1, #list, 5 do
      local target, count = list[k], counts[k] or list[k + 4]
      if count % OK == list[k + 1] then -- all its predecessors have settled
        local rule = list[k + 2]
        local bad = math.floor(count / BAD)
        local ok = math.floor((count - bad * BAD) / OK)
        if holds(rule, ok, bad) then
          ready[#ready + 1] = { target, repeats(R) and attempt_of(R, target) or 1, list[k + 3] }
        else
          put_letter(R, target, 'k')
          R.left = R.left - 1
          skipped[#skipped + 1] = target
          stack[#stack + 1] = target
          if rule == 'A' and bad > 0 and not R.cause then
            R.cause, R.mark = culprit(R, target), true
          end
        end
      end
    end
    local next_ = table.remove(stack)
    list = next_ and arrivals(R, next_, 1)
  end
  if #skipped > 0 then
    table.sort(skipped)
    event(R, 'nodes.skipped', ranges(skipped))
  end
  if R.mark and R.fast == '1' then abort(R) else place(R, ready) end
end

-- A failure is tolerated when it has live successors and each of them accepts failures.
local function tolerated(R, node, dead)
  local web = redis.call('HGET', R.web, node)
  if not web then return false end
  local edges, live = cmsgpack.unpack(web), 0
  for k = 1, #edges, 4 do
    if not dead[edges[k]] then
      live = live + 1
      if edges[k + 2] ~= 'D' and edges[k + 2] ~= 'A' then return false end
    end
  end
  return live > 0
end

local KEPT = { 'run', 'st', 'out', 'err', 'ev', 'in', 'done', 'att', 'dead', 'kids' }
local DONE = { 'join', 'held', 'late', 'lost', 'own', 'base', 'sig', 'heard' }

local SETTLED = { s = true, f = true, k = true, c = true }

-- A run that is part of another has ended: the node that has started it has its turn.
local function tell_parent(R)
  local up = cmsgpack.unpack(R.up)
  local over = base_of(up[1])
  local known = redis.call('HGET', over .. 'kids', R.run)
  if not known then return end
  redis.call('HSET', over .. 'kids', R.run, 'e' .. up[2])
  local letter = redis.call('GETRANGE', over .. 'st', up[2], up[2])
  if letter == 'q' then
    redis.call('ZADD', AGENDA, R.now, up[1] .. '|' .. up[2])
    R.told = R.up
  elseif letter == 'x' then
    redis.call('HSET', over .. 'sig', 'e:' .. up[2], '1')
  elseif SETTLED[letter] and known:sub(1, 1) == 'o' then -- that run may have waited for nothing else
    redis.call('ZADD', AGENDA, R.now, up[1] .. '|F')
    R.told = R.up
  end
end

-- Whether an attempt of a run may start a run, or let one go on: it is the one that is running.
local function may_start(over, up)
  local open = { running = 1, pending = 1, paused = 1 }
  return over and open[over.state] and letter_of(over, up[2]) == 'x'
    and attempt_of(over, up[2]) == up[4]
end

-- All nodes have settled but the epilogue: it is its turn, if there is something to do at the end of
-- such a run. A janitor rings for it, since not everybody who ends a run can.
local function conclude(R)
  local node = R.total - 1
  if R.epi == 'f' and not R.cause and not R.stop then
    put_letter(R, node, 'k')
    R.left = 0
    event(R, 'nodes.skipped', node)
    return
  end
  R.closing = '1'
  redis.call('HSET', R.base .. 'run', 'closing', '1')
  if R.state == 'stopping' then R.state = R.started and 'running' or 'pending' end
  put_letter(R, node, 'q')
  redis.call('ZADD', AGENDA, R.now, R.run .. '|' .. node)
end

-- End the run when every node has settled, and every run that they have started has ended. Returns the
-- final state or ''.
local function finish(R)
  if R.epi and R.left == 1 and not R.closing and not has_open(R) then conclude(R) end
  if R.left > 0 or R.state == 'succeeded' or R.state == 'failed' or R.state == 'cancelled'
    or has_open(R) then
    return ''
  end
  R.state = R.stop and 'cancelled' or (R.cause and 'failed' or 'succeeded')
  redis.call('HSET', R.base .. 'run', 'finished', R.tick)
  event(R, 'run.' .. R.state)
  redis.call('XADD', R.base .. 'done', '1-1', 's', R.state) -- wakes everybody who waits
  redis.call('ZREM', AGENDA, R.run .. '|T', R.run .. '|F', R.run .. '|U')
  for _, name in ipairs(DONE) do redis.call('DEL', R.base .. name) end
  for _, name in ipairs(KEPT) do redis.call('PEXPIRE', R.base .. name, R.keep + 3600000) end
  redis.call('ZADD', AGENDA, R.now + R.keep, R.run .. '|R')
  if R.up then
    redis.call('ZREM', AGENDA, R.run .. '|K')
    tell_parent(R)
  end
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
  use_up(R, node, attempt)
  redis.call('HSET', R.base .. 'err', node, blob)
  R.left = R.left - 1
  event(R, 'node.failed', node, attempt, brief)
  if R.state == 'stopping' then return end
  if R.spared and R.spared > 0 and not R.closing then
    R.spared = redis.call('HINCRBY', R.base .. 'run', 'spared', -1)
  elseif not tolerated(R, node, dead) then
    if not R.cause then
      R.cause = tostring(node)
      R.mark = true
    end
    if R.fast == '1' then
      abort(R)
      return
    end
  end
  arrive(R, arrivals(R, node, 1 + BAD, dead))
end

-- The worker of a running node is gone: dispatch a new attempt, or give the node up.
local function lost(R, node, most, blob, brief)
  local attempt = attempt_of(R, node)
  -- An attempt that had failed has not begun again: what comes of it is to be decided all the same.
  local failed = R.waited and redis.call('HEXISTS', R.base .. 'sig', 'f:' .. node) == 1
  local count = redis.call('HINCRBY', R.base .. (failed and 'sig' or 'lost'), (failed and 'l:' or '') .. node, 1)
  take_slots(R, -1)
  redis.call('ZREM', AGENDA, R.run .. '|' .. node)
  redis.call('HDEL', R.base .. 'late', node) -- a new attempt is not late yet
  event(R, 'node.lost', node, attempt)
  if R.state == 'stopping' then
    cancel(R, node, attempt)
    return
  end
  if count > most then
    redis.call('ZADD', DEAD, R.now, R.run .. '|' .. node)
    stop_children(R, node)
    fail(R, node, attempt, blob, brief, {})
  else
    if failed then end_turn(R, node) end
    dispatch(R, { { node, failed and attempt or attempt + 1 } })
  end
  if R.state ~= 'stopping' then release(R) end
end

-- The worker of a unit is gone: each of its nodes has lost it.
local function lose_unit(R, unit, text, most, blob, brief)
  write_unit(R, unit, 'x', {})
  for _, node in ipairs(read_unit(text)) do
    if letter_of(R, node) == 'x' then lost(R, node, most, blob, brief) end
  end
end

-- The worker of a unit is dead, and these are the nodes that it had begun: only they have lost it.
local function lose_begun(R, unit, text, begun, worker, most, blob, brief)
  write_unit(R, unit, 'x', {})
  local has_begun, back, told = {}, {}, tonumber(text:match('!(%d+)'))
  if told then has_begun[told] = true end
  for _, node in ipairs(begun) do
    has_begun[node] = true
    if letter_of(R, node) == 'p' then -- the unit had run what leads to it, and not recorded that
      R.retried = '2'
      redis.call('HSET', R.base .. 'run', 'retried', '2')
      redis.call('HSET', R.base .. 'att', node, attempt_of(R, node) + 1)
      redis.call('HINCRBY', R.base .. 'lost', node, 1)
      event(R, 'node.lost', node, 1)
    end
  end
  for _, node in ipairs(read_unit(text)) do
    if letter_of(R, node) == 'x' then
      if not has_begun[node] then
        back[#back + 1] = { node, 1 }
      else
        if node ~= told then event(R, 'node.started', node, 1, worker) end
        lost(R, node, most, blob, brief)
      end
    end
  end
  if R.state ~= 'stopping' then return dispatch(R, back) end
  local gone = {}
  for k, pair in ipairs(back) do gone[k] = pair[1] end
  table.sort(gone)
  if #gone > 0 then
    put_letters(R, gone, 'c')
    R.left = R.left - #gone
    event(R, 'nodes.cancelled', ranges(gone))
  end
end

local function close(R)
  if R.mark then redis.call('HSET', R.base .. 'run', 'cause', R.cause) end
  local final = finish(R)
  save(R)
  return final
end

-- Forget which of its nodes are dead letters.
local function bury(run)
  local names = redis.call('HKEYS', base_of(run) .. 'err')
  for k, node in ipairs(names) do names[k] = run .. '|' .. node end
  if #names > 0 then chunked('ZREM', DEAD, names) end
end

-- What is inside a run that goes on is kept for it, however deep.
local function is_wanted(run)
  local up = redis.call('HGET', base_of(run) .. 'run', 'up')
  while up do
    local over = redis.call('HMGET', base_of(cmsgpack.unpack(up)[1]) .. 'run', 'state', 'up')
    local state = over[1]
    if state and state ~= 'succeeded' and state ~= 'failed' and state ~= 'cancelled' then return true end
    up = over[2]
  end
  return false
end

local function purge(run)
  bury(run)
  redis.call('ZREM', 'fc:callbacks:' .. (redis.call('HGET', base_of(run) .. 'run', 'ns') or ''), run)
  redis.call('DEL', base_of(run) .. 'cb')
  for _, name in ipairs(KEPT) do redis.call('DEL', base_of(run) .. name) end
  for _, name in ipairs(DONE) do redis.call('DEL', base_of(run) .. name) end
  redis.call('ZREM', RUNS, run)
end

local function answer(R, final, unit, owned)
  return {
    final, R.plan, R.flow, R.ns, R.prio, R.out, R.bundles, unit or '', owned or '',
    (R.state == 'stopping' and 1 or 0) + (R.state == 'paused' and 2 or 0) + (repeats(R) and 4 or 0),
    R.told or '',
  }
end
