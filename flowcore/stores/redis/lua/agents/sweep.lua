-- ARGV: limit, most losses, body of a lost task, body of a late task. Returns agent, task, ...
local due = redis.call('ZRANGEBYSCORE', AGENDA, '-inf', NOW, 'LIMIT', 0, ARGV[1])
local ring = {}
local function look(entry)
  local task, what = entry:match('^(.-)|(%u)$')
  local T = open_task(task or entry)
  if not T or what == 'R' then
    redis.call('ZREM', AGENDA, entry)
    local id = task or entry
    redis.call('ZREM', DEAD, id)
    redis.call('DEL', key(id, 'task'), key(id, 'in'), key(id, 'ids'), key(id, 'ev'))
  elseif what == 'D' then
    redis.call('ZREM', AGENDA, entry)
    stop(T)
    move(T, FAILED, ARGV[4])
  else
    if T.owner ~= '' then
      set(T, 'owner', '', 'token', T.token + 1, 'lost', T.lost + 1, 'rung', 0)
    end
    if T.lost > tonumber(ARGV[2]) then
      move(T, FAILED, ARGV[3])
      redis.call('ZADD', DEAD, NOW, T.id)
    else
      -- A long backlog is no reason for ever more doorbells.
      set(T, 'wait', '', 'rung', T.rung + 1)
      redis.call('ZADD', AGENDA, NOW + T.dlease * 2 ^ math.min(T.rung - 1, 5), T.id)
      ring[#ring + 1] = T.agent
      ring[#ring + 1] = T.id
    end
  end
end

for _, entry in ipairs(due) do
  isolated('agents', AGENDA, { entry }, NOW, entry, function() look(entry) end)
end
return ring
