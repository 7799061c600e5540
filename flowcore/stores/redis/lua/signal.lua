-- Give a signal to the nodes that wait for it, or keep it for the first that will.
-- ARGV: run, name, value (msgpack), event data (msgpack)

-- The runs inside a run that have nodes which wait for a signal.
local function listeners(run, name, found)
  local kids = redis.call('HGETALL', base_of(run) .. 'kids')
  for k = 1, #kids, 2 do
    local kid = kids[k]
    if kids[k + 1]:sub(1, 1) == 'o' then
      local row = redis.call('HMGET', base_of(kid) .. 'run', 'waited', 'kids')
      local known = row[1] and redis.call('HGETALL', base_of(kid) .. 'sig') or {}
      for at = 1, #known, 2 do
        local node = known[at + 1] == 's' .. name and tonumber(known[at]:match('^n:(%d+)$'))
        if node and redis.call('GETRANGE', base_of(kid) .. 'st', node, node) == 'q' then
          found[#found + 1] = kid
          break
        end
      end
      if row[2] then listeners(kid, name, found) end
    end
  end
end

local R = open_run(ARGV[1])
if not R then return false end
local open = { pending = 1, running = 1, paused = 1, stopping = 1 } -- what it does at its end may wait
if not open[R.state] then return { R.state } end
event(R, 'run.signal', '', 0, ARGV[4])
local sig, waiting = R.base .. 'sig', {}
local known = redis.call('HGETALL', sig)
for k = 1, #known, 2 do
  if known[k]:sub(1, 2) == 'n:' and known[k + 1] == 's' .. ARGV[2] then
    local node = tonumber(known[k]:sub(3))
    -- One that was cancelled while it waited waits no more, though its run has an epilogue yet.
    if letter_of(R, node) == 'q' then waiting[#waiting + 1] = node end
  end
end
table.sort(waiting)
for _, node in ipairs(waiting) do unpark(R, node, ARGV[3]) end
local found = {}
if #waiting == 0 then
  listeners(R.run, ARGV[2], found)
  table.sort(found)
  if #found == 0 then redis.call('HSET', sig, 's:' .. ARGV[2], ARGV[3]) end
end
local told = answer(R, close(R))
told[12], told[13] = '', found
return told
