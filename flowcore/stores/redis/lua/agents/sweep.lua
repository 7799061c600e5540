-- ARGV: limit, most losses, body of a lost task, body of a late task. Returns agent, task, ...
local due = redis.call('ZRANGEBYSCORE', AGENDA, '-inf', NOW, 'LIMIT', 0, ARGV[1])
local ring = {}
local function look(entry)
  local kind, id = entry:sub(1, 1), entry:sub(3)
  local T = open_task(id)
  if not T or kind == 'R' then
    redis.call('ZREM', AGENDA, entry)
    redis.call('ZREM', DEAD, id)
    redis.call('DEL', key(id, 'task'), key(id, 'in'), key(id, 'ids'), key(id, 'ev'), key(id, 'calls'))
  elseif kind == 'D' then
    redis.call('ZREM', AGENDA, entry)
    stop(T)
    move(T, FAILED, ARGV[4])
  else
    if not T.agent then error('a task without an agent') end
    if T.owner ~= '' then
      set(T, 'owner', '', 'token', T.token + 1, 'lost', T.lost + 1, 'rung', 0, 'again', '1')
    end
    if T.lost > tonumber(ARGV[2]) then
      move(T, FAILED, ARGV[3])
      redis.call('ZADD', DEAD, NOW, T.id)
    else
      -- A long backlog is no reason for ever more doorbells.
      set(T, 'wait', '', 'rung', T.rung + 1)
      look_at('T', T.id, NOW + T.dlease * 2 ^ math.min(T.rung - 1, 5))
      ring[#ring + 1] = T.agent
      ring[#ring + 1] = T.id
    end
  end
end

for _, entry in ipairs(due) do
  isolated('agents', AGENDA, { entry }, NOW, entry, function() look(entry) end)
end
return ring
