-- Dispatching: how what is ready becomes messages. Put after core.lua, before web.lua.

-- Call `command key` with a long list of arguments, a safe number at a time.
local function chunked(command, key, list)
  for k = 1, #list, 1000 do
    redis.call(command, key, unpack(list, k, math.min(k + 999, #list)))
  end
end

-- Take slots of max_parallel, or give them back; a run without that limit has no use for the count.
local function take_slots(R, count)
  if R.max > 0 then R.active = R.active + count end
end

-- Record the intent to dispatch these {node, attempt} pairs, one in a message: R.out is what the
-- caller publishes. The event names those already `listed` too. What finds no slot is held, and
-- so is everything while the run is paused.
local function dispatch(R, pairs_, listed)
  local due, held, sent = {}, {}, {}
  listed = listed or {}
  for _, pair in ipairs(pairs_) do
    local node = pair[1]
    if pair[2] > 1 then
      redis.call('HSET', R.base .. 'att', node, pair[2])
      if not R.retried then
        R.retried = '1'
        redis.call('HSET', R.base .. 'run', 'retried', '1')
      end
    end
    if R.state == 'paused' or (R.max > 0 and R.active >= R.max) then
      put_letter(R, node, 'h')
      held[#held + 1] = node
    else
      take_slots(R, 1)
      sent[#sent + 1] = node
      due[#due + 1] = R.now + R.dlease
      due[#due + 1] = R.run .. '|' .. node
      listed[#listed + 1] = node
      R.out[#R.out + 1] = node
      R.out[#R.out + 1] = pair[2]
    end
  end
  if #due > 0 then chunked('ZADD', AGENDA, due) end
  table.sort(sent)
  put_letters(R, sent, 'd')
  if #listed > 0 then
    table.sort(listed)
    event(R, 'nodes.dispatched', ranges(listed))
  end
  if #held > 0 then chunked('RPUSH', R.base .. 'held', held) end
end

-- Write down a unit and when to look at it; nothing is left of one without nodes. The log knows of
-- the start of the node `told`; its times count `from` when it was taken.
local function write_unit(R, unit, letter, nodes, policy_of, due, told, from)
  local by_policy, order = {}, {}
  for _, node in ipairs(nodes) do
    local policy = policy_of[node]
    if not by_policy[policy] then
      by_policy[policy] = {}
      order[#order + 1] = policy
    end
    table.insert(by_policy[policy], node)
  end
  if #order == 0 then
    redis.call('HDEL', R.base .. 'own', unit)
    redis.call('ZREM', AGENDA, R.run .. '|' .. unit)
    return ''
  end
  table.sort(order)
  local parts = {}
  for k, policy in ipairs(order) do
    table.sort(by_policy[policy])
    parts[k] = policy .. ':' .. ranges(by_policy[policy])
  end
  local text = letter .. table.concat(parts, ';')
  local about = from and '!' .. (told or '') .. '@' .. string.format('%.0f', from) or ''
  redis.call('HSET', R.base .. 'own', unit, text .. about)
  redis.call('ZADD', AGENDA, due, R.run .. '|' .. unit)
  return text
end

-- Dispatch several nodes of one policy in one message.
local function bundle(R, nodes, policy)
  local unit = 'b' .. redis.call('HINCRBY', R.base .. 'run', 'units', 1)
  local policy_of = {}
  for _, node in ipairs(nodes) do policy_of[node] = policy end
  -- Not 'd': a message of the node's own may be left from before a pause or a resume.
  put_letters(R, nodes, 'b')
  write_unit(R, unit, 'd', nodes, policy_of, R.now + R.dlease)
  local n = #R.bundles
  R.bundles[n + 1], R.bundles[n + 2], R.bundles[n + 3] = unit, nodes[1], #nodes
end

-- Read how what becomes ready is to be shared out.
local function share_out(R, head)
  R.spare, R.share, R.packs, R.idle = head.budget, head.share, {}, true
  local flat = head.packs
  for k = 1, #flat, 5 do
    R.packs[flat[k]] = {
      cost = flat[k + 1], least = flat[k + 2], most = flat[k + 3], here = flat[k + 4],
    }
  end
end

-- Share out what is ready ({node, attempt, policy} each): some of it stays with the unit (R.kept,
-- as long as it has time to spare), some travels together, and the rest travels alone.
local function place(R, ready)
  if not R.packs or R.max > 0 then return dispatch(R, ready) end
  local groups, order, alone, listed = {}, {}, {}, {}
  local function keep(node, policy)
    R.kept[#R.kept + 1] = node
    R.kept_policy[node] = policy
    listed[#listed + 1] = node
  end
  for _, item in ipairs(ready) do
    local node, policy = item[1], item[3]
    if node == R.current then
      keep(node, policy)
    elseif R.state == 'paused' or item[2] > 1 or not R.packs[policy] then
      alone[#alone + 1] = item
    else
      if not groups[policy] then
        groups[policy] = {}
        order[#order + 1] = policy
      end
      table.insert(groups[policy], node)
    end
  end
  table.sort(order)
  for _, policy in ipairs(order) do
    local pack, nodes, k = R.packs[policy], groups[policy], 1
    table.sort(nodes)
    while pack.here and k <= #nodes and (R.spare >= pack.cost or R.idle) do
      keep(nodes[k], policy)
      R.spare, R.idle, k = R.spare - pack.cost, false, k + 1
    end
    local size = math.floor((#nodes - k + 1) / R.share)
    size = math.max(pack.least, math.min(pack.most, size))
    while k <= #nodes do
      local last = math.min(k + size - 1, #nodes)
      if last == k then
        alone[#alone + 1] = { nodes[k], 1 }
      else
        local together = {}
        for at = k, last do
          together[#together + 1] = nodes[at]
          listed[#listed + 1] = nodes[at]
        end
        bundle(R, together, policy)
      end
      k = last + 1
    end
  end
  table.sort(R.kept)
  put_letters(R, R.kept, 'x')
  dispatch(R, alone, listed)
end
