-- Take a place of a limit, and a turn of a rate. What is kept: {limit}:held (who has a place, until
-- when), {limit}:kept (who has one and waits without a worker, since when), {limit}:line (who waits, since when), {limit}:seen (when each last asked), {rate}:tat (when
-- the next turn would be if all were evenly spaced, and what is between two, microseconds), {rate}:due (turns given ahead).
-- ARGV: holder, lease ms, poll ms, limit's key or '', places, rate's key or '', turns, per (microseconds),
--       how long it may wait for a place (ms) or ''
-- Returns -1 when it may begin, -2 when it has waited for a place as long as it may, else the
-- milliseconds after which to ask again.
local t = redis.call('TIME')
local micros = t[1] * 1000000 + t[2]
local now = math.floor(micros / 1000)
local holder, lease, poll = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local held, line, seen = ARGV[4] .. ':held', ARGV[4] .. ':line', ARGV[4] .. ':seen'
local kept = ARGV[4] .. ':kept'
local keeps = ARGV[4] ~= '' and redis.call('ZSCORE', kept, holder)

if ARGV[4] ~= '' and not keeps and not redis.call('ZSCORE', held, holder) then
  redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - 3 * poll)) do
    redis.call('ZREM', seen, gone)
    redis.call('ZREM', line, gone)
  end
  local ahead = redis.call('ZRANK', line, holder) or redis.call('ZCARD', line)
  local taken = redis.call('ZCARD', held) + redis.call('ZCARD', kept)
  if ahead >= tonumber(ARGV[5]) - taken then
    local left = poll
    if ARGV[9] ~= '' then
      left = tonumber(ARGV[9]) - now + (tonumber(redis.call('ZSCORE', line, holder)) or now)
      if left <= 0 then
        redis.call('ZREM', line, holder)
        redis.call('ZREM', seen, holder)
        return -2
      end
    end
    redis.call('ZADD', line, 'NX', now, holder)
    redis.call('ZADD', seen, now, holder)
    for _, key in ipairs({ line, seen }) do redis.call('PEXPIRE', key, 4 * poll) end
    return math.min(poll, left)
  end
end

if ARGV[6] ~= '' then
  local tat_key, due_key = ARGV[6] .. ':tat', ARGV[6] .. ':due'
  local due = tonumber(redis.call('HGET', due_key, holder))
  if not due then
    local turns, per = tonumber(ARGV[7]), tonumber(ARGV[8])
    -- Turns given by a definition that has changed since are as far apart as this one says.
    local was, apart = (redis.call('GET', tat_key) or ''):match('^(%d+) (%S+)$')
    local tat = math.max(tonumber(was) or 0, micros)
    if apart and tonumber(apart) ~= per / turns then
      tat = micros + (tat - micros) * (per / turns) / tonumber(apart)
    end
    due = tat + per / turns - per
    local keep = math.ceil((tat - micros + 2 * per) / 1000) + 60000
    local next_ = string.format('%.0f %.17g', tat + per / turns, per / turns)
    redis.call('SET', tat_key, next_, 'PX', keep)
    if due > micros then
      redis.call('HSET', due_key, holder, string.format('%.0f', due))
      redis.call('PEXPIRE', due_key, keep)
    end
  end
  if due > micros then return math.ceil((due - micros) / 1000) end
  redis.call('HDEL', due_key, holder)
end

if ARGV[4] ~= '' and not keeps then
  redis.call('ZADD', held, now + lease, holder)
  redis.call('PEXPIRE', held, 2 * lease)
  redis.call('ZREM', line, holder)
  redis.call('ZREM', seen, holder)
end
return -1
