-- Take one run whose callbacks are due. ARGV: namespace, lease ms. Returns run, cursor, token or nil.
local open, high = 'fc:callbacks:' .. ARGV[1], 'fc:callbacks-high:' .. ARGV[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- Scores of the index only grow; those of the last millisecond are read again.
local from = redis.call('GET', high) or '0'
local fresh = redis.call('ZRANGEBYSCORE', 'fc:runs', '(' .. from, now - 1, 'WITHSCORES', 'LIMIT', 0, 100)
for k = 1, #fresh, 2 do from = fresh[k + 1] end
if #fresh > 0 then
  -- All of the last score, or some of its runs would be passed over.
  for _, run in ipairs(redis.call('ZRANGEBYSCORE', 'fc:runs', from, from)) do
    fresh[#fresh + 1] = run
    fresh[#fresh + 1] = from
  end
  for k = 1, #fresh, 2 do
    isolated('callbacks', open, {}, now, fresh[k], function()
      if (redis.call('HGET', 'fc:{' .. fresh[k] .. '}:run', 'ns') or '') == ARGV[1] then
        redis.call('ZADD', open, 'NX', 0, fresh[k])
      end
    end)
  end
  redis.call('SET', high, from)
end
-- The turn of a run; nil when it is gone.
local function turn_of(run)
  local cb = 'fc:{' .. run .. '}:cb'
  if redis.call('EXISTS', 'fc:{' .. run .. '}:run') == 0 then
    redis.call('ZREM', open, run)
    redis.call('DEL', cb)
    return nil
  end
  local token = redis.call('HINCRBY', cb, 'token', 1)
  redis.call('ZADD', open, now + ARGV[2], run)
  return { run, tonumber(redis.call('HGET', cb, 'after') or 0), token }
end
for _, run in ipairs(redis.call('ZRANGEBYSCORE', open, '-inf', now, 'LIMIT', 0, 20)) do
  local turn
  isolated('callbacks', open, { run }, now, run, function() turn = turn_of(run) end)
  if turn then return turn end
end
