-- Give a signal to the nodes that wait for it, or keep it for the first that will, in order.
-- ARGV: run, name, value (msgpack), event data (msgpack), most that are kept of a name (0: it is for
--       those that wait already), the node whose question it answers or ''
--
-- Answers { state } when the run has ended; { state, why } or { state, why, the first answer } when the
-- signal was not taken: 'nobody' waits, 'full', 'answered'.

-- The nodes of a run that wait for a signal.
local function waiters(base, name, found)
  local keys, at = redis.call('HKEYS', base .. 'sig'), {}
  for k = 1, #keys do
    if keys[k]:sub(1, 2) == 'n:' then at[#at + 1] = keys[k] end
  end
  for from = 1, #at, 1000 do
    local last = math.min(from + 999, #at)
    local known = redis.call('HMGET', base .. 'sig', unpack(at, from, last))
    for k = 1, #known do
      local node = known[k] == 's' .. name and tonumber(at[from + k - 1]:sub(3))
      -- One that was cancelled while it waited waits no more, though its run has an epilogue yet.
      if node and redis.call('GETRANGE', base .. 'st', node, node) == 'q' then
        found[#found + 1] = node
      end
    end
  end
  table.sort(found)
  return found
end

-- The runs inside a run that have nodes which wait for a signal.
local function listeners(run, name, found)
  local kids = redis.call('HGETALL', base_of(run) .. 'kids')
  for k = 1, #kids, 2 do
    local kid = kids[k]
    if kids[k + 1]:sub(1, 1) == 'o' then
      local row = redis.call('HMGET', base_of(kid) .. 'run', 'waited', 'kids')
      if row[1] and #waiters(base_of(kid), name, {}) > 0 then found[#found + 1] = kid end
      if row[2] then listeners(kid, name, found) end
    end
  end
end

local R = open_run(ARGV[1])
if not R then return false end
local open = { pending = 1, running = 1, paused = 1, stopping = 1 } -- what it does at its end may wait
if not open[R.state] then return { R.state } end
local name, value, most, asked = ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6])
local sig, waiting, found = R.base .. 'sig', waiters(R.base, name, {}), {}
if asked then
  local is_waiting = false
  for _, node in ipairs(waiting) do is_waiting = is_waiting or node == asked end
  if not is_waiting then
    if SETTLED[letter_of(R, asked)] then return { R.state, 'answered' } end
    local first = redis.call('HGET', sig, 'p:' .. asked) or redis.call('HGET', sig, 'a:' .. asked)
    if first then return { R.state, 'answered', first } end
    waiting = {}
    redis.call('HSET', sig, 'a:' .. asked, value)
  end
elseif #waiting == 0 then
  listeners(R.run, name, found)
  table.sort(found)
  if #found == 0 then
    if most == 0 then return { R.state, 'nobody' } end
    local kept = tonumber(redis.call('HGET', sig, 's:' .. name) or 0)
    local taken = tonumber(redis.call('HGET', sig, 'h:' .. name) or 0)
    if kept - taken >= most then return { R.state, 'full' } end
    redis.call('HSET', sig, 's:' .. name, kept + 1, 'v:' .. (kept + 1) .. ':' .. name, value)
  end
end
event(R, 'run.signal', '', 0, ARGV[4])
for _, node in ipairs(waiting) do unpark(R, node, value) end
local told = answer(R, close(R))
told[12], told[13] = '', found
return told
