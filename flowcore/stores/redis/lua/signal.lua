-- Give a signal to the nodes that wait for it, or keep it for the first that will.
-- ARGV: run, name, value (msgpack), event data (msgpack)
local R = open_run(ARGV[1])
if not R then return false end
local open = { pending = 1, running = 1, paused = 1 }
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
if #waiting == 0 then redis.call('HSET', sig, 's:' .. ARGV[2], ARGV[3]) end
return answer(R, close(R))
