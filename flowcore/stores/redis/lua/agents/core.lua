-- What every script of this folder is built on (it is put before each of them).
-- A task T is fc:{a2a:T}:task (hash), :in (list: what its caller says), :ids (set: what was said
-- before, by owner, agent, messageId and content), :calls (set: tasks it waits for), :ev (stream,
-- ids 0-1, 0-2 ... without a gap). fc:a2a:agenda (sorted set) names what has to be looked at by a
-- time, one letter before the id: T|id the task itself, D|id its deadline, R|id the end of its
-- retention; whatever an id contains, no entry can be taken for another.
-- Channels fc:a2a:to:INSTANCE tell an instance: "e|T" there is news of T, "d|T" it has
-- ended or asks, "s|T" stop working on T.
local AGENDA, DEAD = 'fc:a2a:agenda', 'fc:a2a:dead'
local P = 'TASK_STATE_'
local SUBMITTED, WORKING, ASKS = P .. 'SUBMITTED', P .. 'WORKING', P .. 'INPUT_REQUIRED'
local COMPLETED, FAILED, CANCELED, REJECTED =
  P .. 'COMPLETED', P .. 'FAILED', P .. 'CANCELED', P .. 'REJECTED'
local END = { [COMPLETED] = 1, [FAILED] = 1, [CANCELED] = 1, [REJECTED] = 1 }
local MOVES = {
  [SUBMITTED] = { [WORKING] = 1, [CANCELED] = 1, [REJECTED] = 1, [FAILED] = 1 },
  [WORKING] = { [ASKS] = 1, [COMPLETED] = 1, [FAILED] = 1, [CANCELED] = 1, [REJECTED] = 1 },
  [ASKS] = { [WORKING] = 1, [CANCELED] = 1, [FAILED] = 1 },
}
local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

local function key(task, part) return 'fc:{a2a:' .. task .. '}:' .. part end

local function look_at(kind, task, at) redis.call('ZADD', AGENDA, at, kind .. '|' .. task) end

local function forget(task, ...)
  for _, kind in ipairs({ ... }) do redis.call('ZREM', AGENDA, kind .. '|' .. task) end
end

local function open_task(task)
  local flat = redis.call('HGETALL', key(task, 'task'))
  if #flat == 0 then return nil end
  local T = { id = task }
  for k = 1, #flat, 2 do T[flat[k]] = flat[k + 1] end
  for _, name in ipairs({ 'seq', 'read', 'token', 'lost', 'tries', 'emitted', 'ev', 'rung', 'keep', 'dlease' }) do
    T[name] = tonumber(T[name] or 0)
  end
  return T
end

local function set(T, ...)
  local pairs_ = { ... }
  for k = 1, #pairs_, 2 do T[pairs_[k]] = pairs_[k + 1] end
  redis.call('HSET', key(T.id, 'task'), ...)
end

local function tell_event(T, kind, body)
  set(T, 'ev', T.ev + 1)
  redis.call('XADD', key(T.id, 'ev'), '0-' .. T.ev, 'k', kind, 's', T.state, 'b', body, 'at', NOW)
  local ended = END[T.state] or T.state == ASKS
  local who, all = T.notify:match('^([^*]*)(%*?)$')
  if who ~= '' and (ended or all == '*') then
    redis.call('PUBLISH', 'fc:a2a:to:' .. who, (ended and 'd|' or 'e|') .. T.id)
  end
end

-- Tell whoever works on a task to stop.
local function stop(T)
  if (T.owner or '') ~= '' then redis.call('PUBLISH', 'fc:a2a:to:' .. T.owner, 's|' .. T.id) end
end

local move

-- Nobody waits any more for what a task has called, nor for what that has called.
local function cancel_calls(T)
  for _, id in ipairs(redis.call('SMEMBERS', key(T.id, 'calls'))) do
    local called = open_task(id)
    if called and not END[called.state] then
      stop(called)
      move(called, CANCELED, '')
    end
  end
end

-- Move a task; false if that is no legal move.
move = function(T, state, body)
  if not (MOVES[T.state] and MOVES[T.state][state]) then return false end
  set(T, 'state', state, 'said', body, 'since', NOW)
  tell_event(T, 'status', body)
  if END[state] then
    set(T, 'token', T.token + 1, 'owner', '')
    forget(T.id, 'T', 'D')
    look_at('R', T.id, NOW + T.keep)
    if state ~= COMPLETED then cancel_calls(T) end
  end
  return true
end

local function holds(T, token) return T and T.owner ~= '' and T.token == tonumber(token) and T.state == WORKING end

local function ring_by(T)
  set(T, 'rung', 0)
  look_at('T', T.id, NOW + T.dlease)
end
