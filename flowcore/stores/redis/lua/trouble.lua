-- Troubles: items that a loop could not serve, for people to see. Put before the scripts that note
-- them. fc:troubles (hash): loop|item -> msgpack of {count, since, last, why}.

-- Errors of the server, not of an item: nobody is served then, and whoever called is told.
local SERVER = { 'OOM', 'MISCONF', 'READONLY', 'NOREPLICAS', 'LOADING', 'BUSY' }

local function words_of(failure)
  local text = type(failure) == 'table' and tostring(failure.err) or tostring(failure)
  return (text:gsub('^user_script:%d+: ', ''))
end

local function note_trouble(loop, item, why, now, most)
  local key, field, count, since = 'fc:troubles', loop .. '|' .. item, 0, now
  local old = redis.call('HGET', key, field)
  if old then
    local fine, kept = pcall(cmsgpack.unpack, old)
    if fine and type(kept) == 'table' then count, since = tonumber(kept[1]) or 0, kept[2] end
  elseif redis.call('HLEN', key) >= (most or 200) then
    local oldest, at
    local all = redis.call('HGETALL', key)
    for k = 1, #all, 2 do
      local fine, kept = pcall(cmsgpack.unpack, all[k + 1])
      local last = fine and type(kept) == 'table' and tonumber(kept[3]) or 0
      if not at or last < at then oldest, at = all[k], last end
    end
    redis.call('HDEL', key, oldest)
  end
  redis.call('HSET', key, field, cmsgpack.pack({ count + 1, since, now, why:sub(1, 500) }))
  redis.call('EXPIRE', key, 86400)
  return count + 1
end

-- Do something with members of a sorted set. Should that fail, they are left alone for a while,
-- twice as long each time, and noted as `item`; the others have their turn.
local function isolated(loop, set, members, now, item, call)
  local fine, failure = pcall(call)
  if fine then return true end
  local why = words_of(failure)
  for _, name in ipairs(SERVER) do
    if why:find(name, 1, true) == 1 then error(failure, 0) end
  end
  local noted, count = pcall(note_trouble, loop, item, why, now)
  local pause = math.min(5000 * math.pow(2, math.min(noted and count or 1, 10)), 300000)
  for _, member in ipairs(members) do redis.call('ZADD', set, 'XX', now + pause, member) end
  return false
end
