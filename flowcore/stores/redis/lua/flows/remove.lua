-- Forget a version of a flow. ARGV: namespace, name@version
local flows, plans = 'fc:flows:' .. ARGV[1], 'fc:plans'
local old = redis.call('HGET', flows, ARGV[2])
if not old then return 0 end
redis.call('HDEL', flows, ARGV[2])
local was = cmsgpack.unpack(old).plan
if redis.call('HINCRBY', plans, was, -1) <= 0 then
  redis.call('HDEL', plans, was)
  redis.call('PEXPIRE', 'fc:plan:' .. was, 3600000)
  redis.call('PEXPIRE', 'fc:web:' .. was, 3600000)
end
return 1
