-- Record what a unit has done: the same as settle.lua for many first attempts that succeeded.
-- The unit owns its nodes, and nobody else can have made ready what only they lead to: so a node
-- that was not ready so far counts as ready when the unit says that it has done it.
-- ARGV: run, unit, how to go on (msgpack), the events of these attempts (msgpack), how many events
--       they are, event data of a start, then a node and its output for each, nodes rising
local R = open_run(ARGV[1])
if not R then return false end
local unit = ARGV[2]
local text = redis.call('HGET', R.base .. 'own', unit)
if not text or text:sub(1, 1) ~= 'x' then return false end
local head = cmsgpack.unpack(ARGV[3])
if head.proxy and not ('xp'):find(letter_of(R, head.current), 1, true) then return false end
if R.state == 'paused' then head.back = true end
local owned, policy_of = read_unit(text)
local from = tonumber(text:match('@(%d+)$'))
local at = head.age and from and from + head.age or R.tick
local accepted, is_done = {}, {}
local count = (#ARGV - 6) / 2

if count > 0 then
  local low, high = tonumber(ARGV[7]), tonumber(ARGV[#ARGV - 1])
  local letters = redis.call('GETRANGE', R.base .. 'st', low, high)
  for k = 7, #ARGV, 2 do
    local node = tonumber(ARGV[k])
    local letter = letters:sub(node - low + 1, node - low + 1)
    is_done[node] = true
    if letter == 'x' or letter == 'p' then accepted[#accepted + 1] = node end
  end
end

local news = #accepted > 0
if news and #accepted == count then
  put_letters(R, accepted, 's')
  for from = 7, #ARGV, 2000 do
    redis.call('HSET', R.base .. 'out', unpack(ARGV, from, math.min(from + 1999, #ARGV)))
  end
  R.left = R.left - count
  batch(R, ARGV[4], tonumber(ARGV[5]), nil, nil, nil, at)
elseif news and R.state == 'stopping' then
  -- What the unit was not known to have is cancelled by now; what it had still counts.
  local ok = {}
  for _, node in ipairs(accepted) do ok[node] = true end
  local told, events = cmsgpack.unpack(ARGV[4]), 0
  local flat, kept = told[2], {}
  for k = 1, #flat, 4 do
    if ok[flat[k]] then
      events = events + (flat[k + 3] == 1 and 1 or 2)
      for at = k, k + 3 do kept[#kept + 1] = flat[at] end
    end
  end
  for k = 7, #ARGV, 2 do
    if ok[tonumber(ARGV[k])] then redis.call('HSET', R.base .. 'out', ARGV[k], ARGV[k + 1]) end
  end
  put_letters(R, accepted, 's')
  R.left = R.left - #accepted
  batch(R, cmsgpack.pack({ told[1], kept }), events, nil, nil, nil, at)
elseif news then
  return false -- not what a unit may say: its lease will run out
end

R.last = math.max(R.tick, at)
R.tick = R.last
local rest = {}
for _, node in ipairs(owned) do
  if not is_done[node] then rest[#rest + 1] = node end
end
share_out(R, head)
R.current = head.current
R.idle = #rest == 0 and head.current < 0 and not head.back
if head.back then R.spare = -1 end
if news and R.state ~= 'stopping' and #head.arrivals > 0 then arrive(R, head.arrivals) end

if head.back or R.state == 'stopping' then
  local stay, back, keep = {}, {}, {}
  for _, node in ipairs(head.keep or {}) do keep[node] = true end
  for _, node in ipairs(rest) do
    if node == head.current or keep[node] then
      stay[#stay + 1] = node
    else
      back[#back + 1] = node
    end
  end
  rest = stay
  if R.state == 'stopping' then
    for _, node in ipairs(R.kept) do
      if node ~= head.current then back[#back + 1] = node else stay[#stay + 1] = node end
      policy_of[node] = R.kept_policy[node]
    end
    R.kept = {}
    table.sort(back)
    if #back > 0 then
      put_letters(R, back, 'c')
      R.left = R.left - #back
      event(R, 'nodes.cancelled', ranges(back))
    end
  elseif #back > 0 then
    local ready = {}
    for k, node in ipairs(back) do ready[k] = { node, 1, policy_of[node] } end
    local kept = R.kept
    R.kept = {}
    place(R, ready)
    R.kept = kept
  end
end
for _, node in ipairs(R.kept) do
  rest[#rest + 1] = node
  policy_of[node] = R.kept_policy[node]
end
-- A client that got no answer says the same again.
local told = tonumber(text:match('!(%d+)'))
if head.tell and told ~= head.current and letter_of(R, head.current) == 'x' then
  event(R, 'node.started', head.current, 1, ARGV[6], at - head.since)
end
told = head.tell and head.current or nil
text = write_unit(R, unit, 'x', rest, policy_of, R.now + R.lease, told, from or R.tick)
local ahead = ''
if head.ahead then
  ahead = redis.call('GETRANGE', R.base .. 'st', head.ahead, head.ahead + head.many - 1):gsub('b', 'd'):gsub('e', 'p')
end
local news_back = answer(R, close(R), unit, text)
news_back[#news_back + 1] = ahead
return news_back
